// Trusted Types forbid HTML from texts: rows are clones of a template.
const $ = (query, within = document) => within.querySelector(query);
const $$ = (query, within = document) => [...within.querySelectorAll(query)];
const main = $("main"), rows = $("#rows"), status = $("#said");
const on = (name, then) => document.addEventListener(name, then);
document.documentElement.dataset.js = "";

const say = (text) => {
  status.replaceChildren(document.createElement("p"));
  status.firstChild.textContent = text;
};

// Times: local, and the title keeps UTC.
const localTimes = (within) => {
  for (const time of $$("time[datetime]", within)) {
    const at = new Date(time.dateTime);
    time.title = time.dateTime;
    if (time.dataset.ago !== undefined) continue;
    const [day, clock] = at.toLocaleString("sv").split(" ");
    time.textContent = day === new Date().toLocaleDateString("sv") ? clock : `${day} ${clock}`;
  }
};
localTimes(document);

// Polls do not extend the session. A page without one leads to the sign-in.
const states = async (query = "") => {
  const answer = await fetch(`/console/states${query}`, { headers: { Accept: "application/json" } }).catch(() => ({}));
  if (answer.status === 401) location.reload();
  return answer.ok ? answer.json() : {};
};
for (const img of $$("[data-again]")) {
  img.onerror = () => states();
  setInterval(() => { if (!document.hidden) img.src = img.src.replace(/(&at=\d+)?$/, `&at=${Date.now()}`); }, 10_000);
}

// The ticket of `smshook console`.
const enter = $("#enter");
if (enter) {
  enter.elements.ticket.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  enter.submit();
}
// A page that the browser kept.
addEventListener("pageshow", (event) => event.persisted && location.reload());

// Reveal and copy. Each is recorded before it is answered.
const askReason = () => new Promise((done) => {
  const dialog = $("#reason"), form = $("form", dialog);
  form.onsubmit = ({ submitter }) => done(submitter.value ? "" : form.elements.reason.value.trim());
  dialog.onclose = () => done("");
  dialog.showModal();
});
const ask = async (path, fields) => {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "X-CSRF": document.body.dataset.csrf, Accept: "application/json" },
    body: new URLSearchParams(fields),
    signal: AbortSignal.timeout(20_000),
  });
  const said = await answer.json();
  if (answer.ok) return said;
  if (said.code === "reason_required" && !fields.reason) {
    const reason = await askReason();
    return reason && ask(path, { ...fields, reason });
  }
  say(said.detail);
};
// One at a time: a second click would be recorded, too.
let isAsking = false;
const reveal = async (path, fields) => {
  if (isAsking) return;
  isAsking = true;
  const said = await ask(path, fields).catch(() => say("The service does not answer."));
  isAsking = false;
  return said;
};
const copy = async (button) => {
  const { id } = button.closest("[data-id]").dataset, what = button.dataset.copy, recorded = what ? "" : " It was recorded.";
  const text = what === "body" ? $("#body").textContent
    : what ? `curl -H "Authorization: Bearer $SMSHOOK_API_KEY" "${location.origin}/v1/events/${id}"`
    : (await reveal(`/console/events/${id}/reveal`, { what: "copy" }))?.code;
  if (text === undefined) return;
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
  const { seconds, ...shown } = said, before = [], label = button.textContent, spoken = button.ariaLabel;
  for (const [name, text] of Object.entries(shown)) {
    const place = $(`[data-shows="${name}"]`, within);
    if (!place) continue;
    place.by?.hideAgain();
    place.by = button;
    before.push([place, place.textContent, place.hidden]);
    place.textContent = text || place.textContent;
    place.hidden = false;
  }
  const end = Date.now() + seconds * 1000; // a tab may sleep
  const tick = () => {
    const left = Math.round((end - Date.now()) / 1000);
    if (left <= 0) return button.hideAgain();
    button.textContent = `Hide ${left} s`;
  };
  button.hideAgain = () => {
    clearInterval(timer);
    for (const [place, text, hidden] of before) { place.textContent = text; place.hidden = hidden; }
    button.textContent = label;
    button.ariaLabel = spoken;
    delete button.dataset.hide;
    for (const line of $$("tr.text:has(td[hidden])")) line.remove();
  };
  const timer = setInterval(tick, 1000);
  button.dataset.hide = "1";
  button.ariaLabel = null;
  tick();
};
const textRow = (row) => {
  row.after(fill("#text", {}));
  return row.nextElementSibling;
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

// Fill the names in braces of a template.
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
// If the list is too long, half of it goes. Older leads there.
const MOST = 200;
if (rows && rows.dataset.stream) {
  const word = $("#live"), wait = $("#wait"), waiting = [];
  let source = null, last = rows.dataset.after, isCut = false;
  const put = ({ texts, copies, reveals, place }) => {
    const row = fill("#row", texts);
    if (!copies) $("[data-copy='']", row)?.remove();
    if (!reveals) $("[formaction]", row)?.remove();
    localTimes(row);
    addMenu(row);
    row.dataset.place = place;
    rows.prepend(row);
    isCut ||= rows.children.length > MOST;
  };
  const cut = () => {
    while (rows.children.length > MOST / 2) rows.lastElementChild.remove();
    const older = $("[rel=next]"), to = new URL(location);
    to.hash = "";
    to.searchParams.set("after", $$("[data-place]", rows).pop().dataset.place);
    older.href = to;
    older.parentElement.hidden = isCut = false;
  };
  // Rows with pending deliveries are asked for again.
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
      for (const [id, { texts, is_owed }] of Object.entries(await states(`?${owed.join("&")}`))) {
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
    if (isCut) cut();
    if (pause > SOON) plan(SOON);
    wait.hidden = true;
    if (rows.children.length) $("#empty")?.remove();
  };
  const came = (event) => {
    last = event.lastEventId;
    waiting.push({ ...JSON.parse(event.data), place: last });
    if (waiting.length > MOST) isCut = !!waiting.shift();
    if (scrollY < 80 && !rows.contains(document.activeElement)) return letIn();
    wait.textContent = `${waiting.length} new`;
    wait.hidden = false;
  };
  const tell = (kind, text) => { word.textContent = text; word.className = `state ${kind}`; };
  const open = () => {
    source = new EventSource(rows.dataset.stream + (last && `&after=${encodeURIComponent(last)}`));
    source.onopen = () => tell("ok", "● live");
    source.onerror = () => {
      tell("wait", "◆ not connected, trying again");
      if (source.readyState === EventSource.CLOSED) { source = null; states(); setTimeout(resume, 5000); }
    };
    source.addEventListener("row", came);
  };
  const resume = () => { if (!document.hidden && !source) open(); };
  on("visibilitychange", () => {
    if (!document.hidden) return resume();
    source?.close();
    source = null;
  });
  wait.onclick = () => { letIn(); scrollTo(0, 0); };
  resume();
}

// Back leads to the row and the filter from which a page was opened.
const LIST = "smshook-list", idOf = (link) => link.closest("tr").dataset.id;
const links = () => $$("tbody tr[data-id]", main).map((row) => $(`a[href*="${row.dataset.id}"]`, row));
on("click", (event) => {
  const link = event.target.closest("tr[data-id] a");
  if (!link) return;
  const list = location.pathname + location.search, pages = [...new Set(links().map((one) => one.pathname))];
  history.replaceState(null, "", `${list}#${idOf(link)}`);
  sessionStorage.setItem(LIST, JSON.stringify({ list, pages, name: $("h1").textContent }));
});
const { list = "", pages = [], name } = JSON.parse(sessionStorage.getItem(LIST) || "{}");
const back = $("[data-back]"), at = pages.indexOf(location.pathname);
if (back && at >= 0) {
  back.href = list + back.hash;
  back.textContent = name;
}

// Keyboard shortcuts. Never with Ctrl, Meta or Alt, in a field or in a dialog.
const here = () => document.activeElement.closest("tbody tr, main");
const step = (by) => {
  const all = links();
  if (!all.length && back && at >= 0 && pages[at + by]) location.assign(pages[at + by]);
  const now = all.findIndex((link) => here() === link.closest("tr"));
  all[now < 0 ? 0 : now + by]?.focus();
};
const PAGES = { i: "", d: "deliveries", s: "sinks", o: "sources", r: "orders", q: "quarantine", a: "audit", v: "overview" };
const press = (query) => $(query, here() || main)?.click();
const OFF = "smshook-keys-off";
let going = false;
const keys = {
  "/": () => $("[type=search]")?.select(),
  j: () => step(1),
  k: () => step(-1),
  u: () => back?.click(),
  c: () => press("[data-copy='']"),
  r: () => press("[formaction$=reveal], [data-reveal=text] button"),
  g: () => { going = true; setTimeout(() => { going = false; }, 1500); },
  "?": () => $("#help")?.showModal(),
};
on("keydown", (event) => {
  const field = event.target.closest("input, select, textarea, dialog[open]");
  if (event.ctrlKey || event.metaKey || event.altKey || field) return;
  if (localStorage.getItem(OFF) && event.key !== "?") return;
  const to = going ? PAGES[event.key] : undefined;
  going = false;
  if (to !== undefined) {
    $(`header a[href="/console/${to}"]`)?.click();
  } else if (keys[event.key]) {
    event.preventDefault();
    keys[event.key]();
  }
});
const off = $("#help input");
if (off) {
  off.checked = !localStorage.getItem(OFF);
  off.onchange = () => localStorage[off.checked ? "removeItem" : "setItem"](OFF, "1");
  $("footer button").onclick = keys["?"];
}
// Back to its row.
links().find((link) => location.hash === `#${idOf(link)}`)?.focus();
// The box of all rows.
const all = $("#all");
if (all) all.onchange = () => $$("[name=id]").forEach((one) => { one.checked = all.checked; });
