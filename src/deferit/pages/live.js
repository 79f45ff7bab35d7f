"use strict";

// Keeps the page as it would be if it were loaded now: asks for it again, and takes over what has changed.
// When to ask is the server's to say (data-refresh, seconds); a stream of events (data-events) says when it is worth
// asking earlier. Without either the page is at its end.
(() => {
  const page = document.documentElement;
  const note = document.getElementById("note");
  const said = document.getElementById("said");
  const isResult = Boolean(page.dataset.reload);
  const GAP = 200; // milliseconds between two questions at the least: a handler may report faster than anybody reads
  const PAUSE = 15_000; // milliseconds between two announcements of the same status
  const LONGEST = 86_400_000; // timers of browsers overflow after 24 days

  let source = null;
  let timer = 0;
  let askedAt = 0;
  let saidAt = 0;
  let failures = 0;
  let isAsking = false;
  let isStale = false;

  // --- when ---------------------------------------------------------------------------------------------------------

  function plan() {
    clearTimeout(timer);
    const seconds = Number(page.dataset.refresh);
    if (!seconds) {
      unfollow();
      return;
    }
    if (document.hidden && page.dataset.pauses) {
      return; // nobody looks, and there is no end to tell
    }
    const patience = Math.max(seconds, Math.min(30, 2 ** failures - 1));
    timer = setTimeout(refresh, Math.min(1000 * patience, LONGEST));
    follow();
  }

  function follow() {
    if (source || !page.dataset.events || document.hidden) {
      return;
    }
    source = new EventSource(page.dataset.events);
    source.addEventListener("status", hurry);
    source.addEventListener("error", () => {
      if (source && source.readyState === EventSource.CLOSED) {
        unfollow(); // asking now and then goes on, and tries this again
      }
    });
  }

  function unfollow() {
    if (source) {
      source.close();
      source = null;
    }
  }

  function hurry() {
    clearTimeout(timer);
    timer = setTimeout(refresh, Math.max(0, askedAt + GAP - Date.now()));
  }

  // --- what ---------------------------------------------------------------------------------------------------------

  async function refresh() {
    clearTimeout(timer);
    if (isAsking) {
      isStale = true;
      return;
    }
    isAsking = true;
    isStale = false;
    askedAt = Date.now();
    try {
      take(await asked());
      failures = 0;
    } catch {
      failures += 1;
      tell("No answer from the server. Trying again…");
    }
    isAsking = false;
    if (isStale) {
      hurry();
    } else {
      plan();
    }
  }

  async function asked() {
    const url = page.dataset.url || location.href;
    const answer = await fetch(url, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (answer.status === 404 || answer.status === 410) {
      return null;
    }
    if (!answer.ok) {
      throw new Error(String(answer.status));
    }
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  }

  function take(fresh) {
    if (fresh === null) {
      delete page.dataset.refresh;
      tell("This is gone: it was deleted, or its time has run out.");
      return;
    }
    const root = fresh.documentElement;
    if (root.dataset.deferit !== page.dataset.deferit || (isResult && !root.dataset.refresh)) {
      location.reload(); // a page to log in at, perhaps, or the result in place of this page
      return;
    }
    note.hidden = true;
    const focused = document.activeElement;
    const status = page.dataset.status;
    localize(fresh);
    document.title = fresh.title;
    for (const name of ["status", "refresh", "events"]) {
      if (name in root.dataset) {
        page.dataset[name] = root.dataset[name];
      } else {
        delete page.dataset[name];
      }
    }
    patch(document.getElementById("main"), fresh.getElementById("main"));
    if (focused && !focused.isConnected) {
      document.querySelector("h1").focus(); // or a keyboard would begin at the top again
    }
    announce(status !== page.dataset.status);
  }

  function announce(isUrgent) {
    const now = Date.now();
    if (isUrgent || now - saidAt > PAUSE) {
      saidAt = now;
      said.textContent = document.getElementById("main").dataset.summary || "";
    }
  }

  function tell(text) {
    if (note.hidden || note.textContent !== text) {
      note.textContent = text;
      note.hidden = false;
    }
  }

  function localize(tree) {
    for (const time of tree.querySelectorAll("time")) {
      const at = new Date(time.dateTime);
      time.title = time.textContent;
      time.textContent = at.toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });
    }
  }

  // --- taking over: elements that stay are kept, and with them focus and scroll -------------------------------------

  function patch(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) {
        old.data = fresh.data;
      }
      return;
    }
    if (old.isEqualNode(fresh)) {
      return;
    }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name)) {
        old.removeAttribute(name);
      }
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) {
        old.setAttribute(name, value);
      }
    }
    patchChildren(old, fresh);
  }

  function patchChildren(old, fresh) {
    const ids = new Set([...fresh.children].map((child) => child.id));
    let at = old.firstChild;
    const drop = () => {
      const next = at.nextSibling;
      at.remove();
      at = next;
    };
    for (const child of [...fresh.childNodes]) {
      while (at && at.id && !ids.has(at.id)) {
        drop();
      }
      if (at && at.nodeName === child.nodeName && (at.id || "") === (child.id || "")) {
        patch(at, child);
        at = at.nextSibling;
      } else {
        old.insertBefore(document.adoptNode(child), at);
      }
    }
    while (at) {
      drop();
    }
  }

  // --- canceling ----------------------------------------------------------------------------------------------------

  async function cancel(form) {
    const button = form.querySelector("button");
    if (button.getAttribute("aria-disabled")) {
      return;
    }
    button.setAttribute("aria-disabled", "true");
    try {
      const answer = await fetch(form.action, { method: "POST", headers: { Accept: "application/json" } });
      if (!answer.ok && answer.status !== 409 && answer.status !== 404) {
        throw new Error(String(answer.status));
      }
    } catch {
      form.submit(); // as without scripts, so that the answer is seen
      return;
    }
    refresh();
  }

  document.addEventListener("submit", (event) => {
    if (event.target.classList.contains("cancel")) {
      event.preventDefault();
      cancel(event.target);
    }
  });

  document.addEventListener("visibilitychange", () => {
    if (!page.dataset.refresh) {
      return;
    }
    if (document.hidden) {
      unfollow(); // browsers open few connections to a server, and some servers hold a thread for each
    } else {
      refresh();
    }
  });

  window.addEventListener("pageshow", (event) => {
    if (event.persisted && page.dataset.refresh) {
      refresh();
    }
  });

  localize(document);
  plan();
})();
