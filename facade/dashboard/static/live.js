// Keeps the page live: asks for its body again whenever the registry says that it has moved.
// Nothing is lost without it; the page is then as old as the last time it was loaded.
const body = document.getElementById("body");
const live = document.getElementById("live");
const filter = document.querySelector("input[name=filter]");

function show(state, text) {
  live.className = state;
  live.textContent = text;
}

async function refresh() {
  const opened = new Map([...body.querySelectorAll("details.application")].map((one) => [one.dataset.name, one.open]));
  const answer = await fetch(`/dashboard/body?filter=${encodeURIComponent(filter.value)}`);
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  body.innerHTML = await answer.text();
  for (const one of body.querySelectorAll("details.application")) {
    if (opened.has(one.dataset.name)) one.open = opened.get(one.dataset.name);
  }
}

const changes = new EventSource("/dashboard/changes");
changes.onmessage = () => refresh().then(() => show("live", "live"), stale);
changes.onerror = stale;

function stale() {
  show("stale", `stale since ${new Date().toLocaleTimeString()}`);
}

filter.addEventListener("input", () => refresh().catch(stale));
