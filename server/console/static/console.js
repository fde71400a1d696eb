"use strict";
// Trusted Types forbid HTML from texts: rows are cloned from a template and filled by textContent.
(() => {
  const root = document.documentElement, body = document.body;
  const $ = (query, within = document) => within.querySelector(query);
  const $$ = (query, within = document) => [...within.querySelectorAll(query)];
  const status = $("#said"), main = $("main"), rows = $("#rows");
  const on = (name, then) => document.addEventListener(name, then);
  root.dataset.js = "";

  const say = (text) => {
    const line = document.createElement("p");
    line.textContent = text;
    status.replaceChildren(line);
  };

  // Times: local, and the title keeps UTC.
  const localTimes = (within) => {
    for (const time of $$("time[datetime]", within)) {
      const at = new Date(time.dateTime);
      time.title = time.dateTime;
      if (time.dataset.ago !== undefined) continue;
      const clock = at.toTimeString().slice(0, 8), day = at.toLocaleDateString("sv");
      time.textContent = at.toDateString() === new Date().toDateString() ? clock : `${day} ${clock}`;
    }
  };
  localTimes(document);

  const again = $$("img[data-again]");
  setInterval(() => {
    if (!document.hidden) for (const img of again) img.src = img.src.replace(/(&at=\d+)?$/, `&at=${Date.now()}`);
  }, 10_000);

  // Signing in with the ticket of `smshook console`.
  const enter = $("#enter");
  if (enter) {
    enter.elements.ticket.value = location.hash.slice(1);
    history.replaceState(null, "", location.pathname);
    enter.submit();
    return;
  }
  // A page that the browser kept, after a sign-out.
  addEventListener("pageshow", (event) => event.persisted && location.reload());

  // Reveal and copy. Each is recorded before it is answered.
  const askReason = () => new Promise((done) => {
    const dialog = $("#reason"), form = $("form", dialog);
    form.onsubmit = ({ submitter }) => done(submitter.value ? "" : form.elements.reason.value.trim());
    dialog.onclose = () => done("");
    dialog.showModal();
  });
  const reveal = async (path, fields) => {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "X-CSRF": body.dataset.csrf, Accept: "application/json" },
      body: new URLSearchParams(fields),
    });
    const said = await answer.json();
    if (answer.ok) return said;
    if (said.code === "reason_required" && !fields.reason) {
      const reason = await askReason();
      return reason ? reveal(path, { ...fields, reason }) : null;
    }
    say(said.detail);
    return null;
  };
  const copy = async (button) => {
    const { id } = button.closest("[data-id]").dataset, what = button.dataset.copy;
    const curl = `curl -H "Authorization: Bearer $SMSHOOK_API_KEY" "${location.origin}/v1/events/${id}"`;
    let text = { curl, body: $("#body")?.textContent }[what], recorded = "";
    if (!what) {
      const said = await reveal(`/console/events/${id}/reveal`, { what: "copy" });
      if (!said) return;
      text = said.code;
      recorded = " It was recorded.";
    }
    try {
      await navigator.clipboard.writeText(text);
      say(`Copied.${recorded}`);
    } catch {
      say(`The browser did not allow copying.${recorded}`);
    }
  };
  const show = async (button, path, fields, within) => {
    if (button.dataset.hide) return button.hideAgain();
    const said = await reveal(path, fields);
    if (!said) return;
    const { seconds, ...shown } = said, before = [], label = button.textContent, spoken = button.getAttribute("aria-label");
    for (const [name, text] of Object.entries(shown)) {
      const place = $(`[data-shows="${name}"]`, within);
      if (!place) continue;
      before.push([place, place.textContent, place.hidden]);
      place.textContent = text || place.textContent;
      place.hidden = false;
    }
    let left = seconds;
    const tick = () => {
      if (left <= 0) return button.hideAgain();
      button.textContent = `Hide ${left} s`;
      left -= 1;
    };
    button.hideAgain = () => {
      clearInterval(timer);
      for (const [place, text, hidden] of before) { place.textContent = text; place.hidden = hidden; }
      button.textContent = label;
      if (spoken) button.setAttribute("aria-label", spoken);
      delete button.dataset.hide;
      for (const line of $$("tr.text:has(td[hidden])")) line.remove();
    };
    const timer = setInterval(tick, 1000);
    button.dataset.hide = "1";
    button.removeAttribute("aria-label");
    tick();
  };
  const textRow = (row) => {
    const line = $("#text").content.firstElementChild.cloneNode(true);
    row.after(line);
    return line;
  };
  on("submit", (event) => {
    const { submitter, target } = event;
    if (target.matches("[data-reveal]")) {
      event.preventDefault();
      show(submitter, target.action, Object.fromEntries(new FormData(target)), main);
    } else if (target.id === "reveal" && submitter) {
      event.preventDefault();
      const row = submitter.closest("tr"), places = { querySelector: (query) => $(query, row) || $(query, textRow(row)) };
      show(submitter, submitter.formAction, {}, places);
    }
  });
  on("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });
  addEventListener("pagehide", () => $$("[data-hide]").forEach((button) => button.hideAgain()));

  // Return a template with texts in place of their names in braces.
  const fill = (template, texts) => {
    const made = $(template).content.firstElementChild.cloneNode(true);
    for (const place of [made, ...$$("*", made)]) {
      for (const one of [...place.attributes, ...place.childNodes]) {
        if (one.nodeValue) one.nodeValue = one.nodeValue.replace(/\{(\w+)\}/g, (_, name) => texts[name]);
      }
    }
    return made;
  };
  const addMenu = (row) => {
    const [number, service] = [...row.cells].map((cell) => cell.textContent.trim());
    row.append(fill("#menu", { id: row.dataset.id, about: `${service} for ${number}` }));
  };
  if (rows) [...rows.rows].forEach(addMenu);

  // New rows go in at the top of the page, unless the focus is in the list.
  const MOST = 200;
  if (rows && rows.dataset.stream) {
    const word = $("#live"), wait = $("#wait"), waiting = [];
    let source = null, last = rows.dataset.after;
    const put = ({ texts, copies, reveals }) => {
      const row = fill("#row", texts);
      if (!copies) $("[data-copy='']", row)?.remove();
      if (!reveals) $("[formaction]", row)?.remove();
      localTimes(row);
      addMenu(row);
      rows.prepend(row);
      while (rows.children.length > MOST) rows.lastElementChild.remove();
    };
    // Rows with pending deliveries are asked for again, less and less often.
    const SOON = 1500;
    let pause, timer;
    const plan = (ms) => {
      pause = ms;
      clearTimeout(timer);
      timer = setTimeout(follow, ms);
    };
    const follow = async () => {
      const owed = $$("tr:has(.owed)", rows).slice(0, 100).map((row) => `event=${row.dataset.id}`);
      if (owed.length && !document.hidden) {
        const answer = await fetch(`/console/states?${owed.join("&")}`).catch(() => ({}));
        for (const [id, { texts, is_owed }] of answer.ok ? Object.entries(await answer.json()) : []) {
          const cell = $(`tr[data-id="${id}"] .owed`, rows);
          cell?.replaceChildren(fill("#state", texts));
          cell?.classList.toggle("owed", is_owed);
        }
      }
      plan(Math.min(2 * pause, 15_000));
    };
    plan(SOON);
    const letIn = () => {
      while (waiting.length) put(waiting.shift());
      if (pause > SOON) plan(SOON);
      wait.hidden = true;
      const empty = $("#empty");
      if (empty && rows.children.length) empty.remove();
    };
    const came = (event) => {
      last = event.lastEventId;
      waiting.push(JSON.parse(event.data));
      if (waiting.length > MOST) waiting.shift();
      if (scrollY < 80 && !rows.contains(document.activeElement)) return letIn();
      wait.textContent = `${waiting.length} new`;
      wait.hidden = false;
    };
    const open = () => {
      const after = last ? `&after=${encodeURIComponent(last)}` : "";
      source = new EventSource(`${rows.dataset.stream}${after}`);
      source.onopen = () => { word.textContent = "● live"; word.className = "state ok"; };
      source.onerror = () => {
        word.textContent = "◆ not connected, trying again";
        word.className = "state wait";
        if (source.readyState === EventSource.CLOSED) { source = null; setTimeout(resume, 5000); }
      };
      source.addEventListener("row", came);
    };
    const resume = () => { if (!document.hidden && !source) open(); };
    on("visibilitychange", () => {
      if (!document.hidden) return resume();
      source?.close();
      source = null;
    });
    wait.addEventListener("click", () => { letIn(); scrollTo(0, 0); });
    resume();
  }

  // Back from an event leads to the row and the filter from which it was opened.
  const LIST = "smshook-list";
  const links = () => $$("tbody tr[data-id]", main).map((row) => $("a", row));
  on("click", (event) => {
    const link = event.target.closest("tr[data-id] a");
    if (!link) return;
    const list = location.pathname + location.search, id = link.closest("tr").dataset.id;
    history.replaceState(null, "", `${list}#${id}`);
    sessionStorage.setItem(LIST, JSON.stringify({ list, pages: links().map((one) => one.pathname) }));
  });
  const { list = "", pages = [] } = JSON.parse(sessionStorage.getItem(LIST) || "{}");
  const back = $("[data-back]"), at = pages.indexOf(location.pathname);
  if (back && at >= 0) back.href = list + back.hash;

  // Keyboard shortcuts. Never with Ctrl, Meta or Alt, in a field or in a dialog.
  const here = () => document.activeElement.closest("tbody tr, main");
  const step = (by) => {
    if (back && pages[at + by] && at >= 0) location.assign(pages[at + by]);
    const all = links(), now = all.findIndex((link) => link.closest("tr").contains(document.activeElement));
    all[now < 0 ? 0 : Math.min(Math.max(now + by, 0), all.length - 1)]?.focus();
  };
  const PAGES = { i: "", d: "deliveries", s: "sinks", o: "sources", r: "orders", q: "quarantine", a: "audit", v: "overview" };
  const press = (query) => { const found = $(query, here() || main) || $(query, main); if (found) found.click(); };
  const help = $("#help"), OFF = "smshook-keys-off";
  let going = false;
  const keys = {
    "/": () => $("input[type=search]")?.select(),
    j: () => step(1),
    k: () => step(-1),
    u: () => back?.click(),
    c: () => press("[data-copy='']"),
    r: () => press("[formaction$=reveal], [data-reveal=text] button"),
    g: () => { going = true; setTimeout(() => { going = false; }, 1500); },
    "?": () => help.showModal(),
  };
  on("keydown", (event) => {
    const field = event.target.closest("input, select, textarea, dialog[open]");
    if (event.ctrlKey || event.metaKey || event.altKey || field || !help) return;
    if (localStorage.getItem(OFF) && event.key !== "?") return;
    const to = going && PAGES[event.key];
    going = false;
    if (to !== false && to !== undefined) {
      $(`header a[href="/console/${to}"]`)?.click();
    } else if (keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    }
  });
  const off = help && $("input", help);
  if (off) {
    off.checked = !localStorage.getItem(OFF);
    off.onchange = () => off.checked ? localStorage.removeItem(OFF) : localStorage.setItem(OFF, "1");
  }
  for (const button of $$("[data-opens]")) button.onclick = () => $(`#${button.dataset.opens}`).showModal();
  // Back to the row that was opened.
  const row = location.hash && $(`tr[data-id="${CSS.escape(location.hash.slice(1))}"] a`);
  if (row) row.focus();
  // The box "all" of a list of chosen rows.
  for (const all of $$("[data-all]")) {
    all.onchange = () => $$(`input[name="${all.dataset.all}"]`).forEach((one) => { one.checked = all.checked; });
  }
})();
