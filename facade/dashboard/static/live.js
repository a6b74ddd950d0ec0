// Keeps the page live: asks for it again whenever the registry says that it has moved, and while somebody searches.
// Nothing is lost without it; the page is then as old as the last time it was loaded.
const body = document.getElementById("body");
const live = document.getElementById("live");
const search = document.querySelector("form[role=search]");
let asking = new AbortController();

function show(state, text) {
  live.className = state;
  live.textContent = text;
}

function fresh() {
  show("live", live.dataset.live);
}

function stale(reason) {
  if (reason?.name === "AbortError") return; // a newer question is on its way
  show("stale", `${live.dataset.stale} ${new Date().toLocaleTimeString()}`);
}

// What the reader opened stays open, and the focus stays where it was.
function swap(page) {
  const opened = new Map([...body.querySelectorAll("details[data-name]")].map((one) => [one.dataset.name, one.open]));
  const focused = body.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  body.replaceChildren(...page.getElementById("body").childNodes);
  for (const one of body.querySelectorAll("details[data-name]")) {
    if (opened.has(one.dataset.name)) one.open = opened.get(one.dataset.name);
  }
  if (focused) body.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

async function refresh() {
  asking.abort();
  asking = new AbortController();
  const answer = await fetch(location.href, { signal: asking.signal });
  if (!answer.ok && answer.status !== 404) throw new Error(`status ${answer.status}`);
  swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
}

const changes = new EventSource("/dashboard/changes");
changes.onmessage = () => refresh().then(fresh, stale);
changes.onerror = stale;

let typed;
search?.addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(() => {
    history.replaceState(null, "", `${search.action.split("?")[0]}?${new URLSearchParams(new FormData(search))}`);
    refresh().catch(stale);
  }, 150);
});
