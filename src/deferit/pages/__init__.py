"""Pages for people: a status document or a list of them in, a self-contained HTML page out.

1. One page is one answer: style and script stand in it, nothing else is loaded, and the policy allows nothing else.
2. A page is right without its script, which only asks for the page again and takes over what has changed.
3. All that is not ours is escaped, for every piece of markup is a `markupsafe.Markup`.
"""
