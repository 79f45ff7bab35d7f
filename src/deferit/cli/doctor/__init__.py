"""``deferit doctor``: ``look`` gathers what is so, ``checks`` decides what is wrong with it, ``command`` tells."""
