// The live page: one stream of events from the line, drawn as it comes. Nothing is computed here that the line knows.
"use strict";

const SILENCE_MS = 4000; // the line speaks four times a second; this long without a word is a lost connection
const STAGES = [
  ["waiting", "waiting"],
  ["finding", "finding"],
  ["queueing", "queueing"],
  ["classifying", "classifying"],
  ["voting", "voting"],
  ["output", "output"],
];
const REASONS = { unknown: "Unknown", overlap: "Too close", ambiguous: "Mixed up", late: "Late", overload: "Overload" };
const ADVICE = {
  camera: "Check the camera's cable, power and lens.",
  belt: "Check the belt and its encoder.",
  item: "The item went to the default lane.",
  model: "The model's log line says what it met.",
  output: "Check the diverter, its supply and its network.",
  journal: "Check the disk: is it full, or read-only?",
  web: "The line itself is not affected.",
  line: "The log has the details.",
};

const ADVICE_FOR = {
  drift: "Look at lamp, lens and goods. If they have changed for good, say what some items are and train again.",
  outputs_disarmed: "Arm them when nobody reaches into the belt.",
};

const $ = (id) => document.getElementById(id);
const line = { facts: null, state: null, incidents: new Map(), arrived: 0 };

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const percent = (share, digits = 1) => (share === null || share === undefined ? "–" : (100 * share).toFixed(digits));
const known = (value, digits) => (typeof value === "number" ? value.toFixed(digits) : "–");
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const words = (name) => sentence(name).replaceAll("_", " ");
const clockTime = (wall) => new Date(wall * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });

function duration(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return `${Math.floor(seconds)} s`;
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function laneColour(name) {
  const lanes = line.facts?.lanes ?? [];
  const index = lanes.filter((lane) => !lane.default).findIndex((lane) => lane.name === name);
  return index < 0 ? "var(--lane-default)" : `var(--lane-${index % 6})`;
}

// ---- What the line is doing, in one word ----

function status() {
  const { state } = line;
  if (!stream.open) return ["bad", "Connection lost"];
  if (!state || performance.now() - line.arrived > SILENCE_MS / 2) return ["bad", "The line is silent"];
  const failing = Object.entries(state.health ?? {}).filter(([, part]) => !part.ok);
  if (failing.length) return ["bad", `${words(failing[0][0])}: ${failing[0][1].text}`];
  const rest = line.facts?.lanes?.find((l) => l.default)?.name ?? "the default lane";
  if (state.armed === false) return ["warn", `Disarmed: everything goes to ${rest}`];
  if (state.paused) return ["warn", `Paused: everything goes to ${rest}`];
  if (state.speed_mm_s === 0) return ["idle", "The belt stands"];
  return ["good", "Sorting"];
}

function showStatus() {
  const [tone, text] = status();
  $("status").dataset.tone = tone;
  write($("status-text"), text);
  document.title = `${text} · sortline`;
  document.body.classList.toggle("lost", !stream.open);
  for (const id of ["pause", "arm"]) $(id).disabled = !stream.open || !line.state;
}

// ---- The state ----

function showState() {
  const { state } = line;
  const { outcomes } = state;
  write($("speed"), known(state.speed_mm_s, 0));
  write($("fps"), known(state.fps, 1));
  write($("on-belt"), state.on_belt);
  write($("uptime"), duration(state.uptime_s));
  write($("items"), whole.format(state.born));
  write($("rate"), state.uptime_s > 5 ? whole.format((60 * state.born) / state.uptime_s) : "–");
  $("accuracy-figure").hidden = !state.simulated;
  if (state.simulated) write($("accuracy"), percent(state.simulated.sort_accuracy));
  write($("outcomes"), outcomeSentence(outcomes, state.reasons));
  write($("p50"), known(state.latency_ms?.p50, 1));
  write($("p99"), known(state.latency_ms?.p99, 1));
  $("pause").setAttribute("aria-pressed", String(Boolean(state.paused)));
  write($("pause"), state.paused ? "Resume" : "Pause");
  write($("arm"), state.armed === false ? "Arm outputs" : "Disarm");
  $("arm").classList.toggle("strong", state.armed === false);
  model.drift(state.drift);
  items.release();
  showHealth(state.health ?? {});
  showLanes(state);
  showStages(state.stages ?? {});
  if (state.latency) showHistogram(state.latency);
  showStatus();
}

function outcomeSentence(outcomes, reasons) {
  const parts = [];
  if (outcomes.missed) parts.push(`${outcomes.missed} missed`);
  if (outcomes.lost) parts.push(`${outcomes.lost} lost`);
  for (const [reason, word] of Object.entries(REASONS)) {
    if (reasons[reason]) parts.push(`${reasons[reason]} ${word.toLowerCase()}`);
  }
  return parts.length ? parts.join(", ") : "None missed, none lost.";
}

function showHealth(health) {
  const list = $("health");
  for (const [name, part] of Object.entries(health)) {
    let entry = list.querySelector(`[data-part="${CSS.escape(name)}"]`);
    if (!entry) {
      entry = make("li");
      entry.dataset.part = name;
      list.append(entry);
    }
    entry.dataset.ok = part.ok;
    entry.title = plain(part.text);
    write(entry, part.ok ? words(name) : `${words(name)} failing`);
  }
}

function showLanes(state) {
  const list = $("lane-list");
  const total = Object.values(state.lanes).reduce((sum, lane) => sum + lane.items, 0);
  for (const { name, default: isDefault } of line.facts?.lanes ?? []) {
    let row = list.querySelector(`[data-lane="${CSS.escape(name)}"]`);
    if (!row) {
      row = make("li", "lane");
      row.dataset.lane = name;
      row.style.setProperty("--lane", laneColour(name));
      const title = make("p", "lane-name", name);
      if (isDefault) title.append(make("small", "", "default"));
      row.append(title, make("p", "lane-items"), make("p", "lane-classes"), make("p", "lane-quality"), make("div", "lane-bar"));
      row.lastChild.append(make("span"));
      list.append(row);
    }
    const lane = state.lanes[name] ?? { items: 0, classes: {} };
    const classes = Object.entries(lane.classes).sort((a, b) => b[1] - a[1]);
    const quality = state.simulated?.lanes?.[name];
    write(row.children[1], whole.format(lane.items));
    write(row.children[2], classes.map(([label, n]) => `${label}\u00a0${whole.format(n)}`).join("   ") || "nothing has come yet");
    write(row.children[3], quality ? trueQuality(quality) : checkedQuality(state.checked?.lanes?.[name], lane.items));
    row.children[4].firstChild.style.inlineSize = `${total ? (100 * lane.items) / total : 0}%`;
  }
}

// On a simulated belt. A lane that nothing has come to has no purity, but of what belonged to it none may have got there.
function trueQuality(quality) {
  const known = ["purity", "yield"].filter((measure) => typeof quality[measure] === "number");
  return known.map((measure) => `${measure} ${percent(quality[measure])} %`).join("   ");
}

// On a real belt only people know the truth: what is said is said of the items that they have checked.
function checkedQuality(checked, items) {
  const part = (word, { of, low, high }) => `${word} ${percent(low, 0)}–${percent(high, 0)} % (${of} checked)`;
  const known = ["purity", "yield"].filter((measure) => checked?.[measure].of);
  return known.map((measure) => part(measure, checked[measure])).join("\n") || (items ? "purity not known" : "");
}

// ---- Timing ----

function showStages(stages) {
  const mean = ([name]) => (stages[name]?.count ? (1000 * stages[name].sum_s) / stages[name].count : 0);
  const means = STAGES.map(mean);
  const sum = means.reduce((a, b) => a + b, 0);
  const [bar, legend] = [$("stages"), $("legend")];
  if (!bar.children.length) {
    STAGES.forEach(([, word], i) => {
      bar.append(make("span", `stage-${i}`));
      const entry = make("li", `stage-${i}`, word);
      entry.append(make("b"));
      legend.append(entry);
    });
  }
  means.forEach((ms, i) => {
    bar.children[i].style.flexGrow = sum ? ms / sum : 0;
    write(legend.children[i].lastChild, `${ms.toFixed(ms < 10 ? 1 : 0)} ms`);
  });
  if (stages.margin?.count) {
    if (legend.children.length === STAGES.length) legend.append(make("li", "stage-spare", "to spare"));
    const spare = legend.lastChild;
    if (spare.children.length === 0) spare.append(make("b"));
    write(spare.lastChild, `${whole.format(mean(["margin"]))} ms`);
  }
}

// One bar a bucket of the line's own histogram, from the first that holds anything to the last.
function showHistogram({ count, buckets }) {
  if (!count) return;
  const all = buckets.map(([upper, n], i) => ({ upper: 1000 * upper, n: n - (buckets[i - 1]?.[1] ?? 0) }));
  const first = Math.max(all.findIndex((bucket) => bucket.n) - 1, 0);
  const shown = all.slice(first, Math.max(all.findLastIndex((bucket) => bucket.n) + 1, first + 6));
  const most = Math.max(...shown.map((bucket) => bucket.n), 1);
  const plot = $("histogram");
  if (plot.children.length !== shown.length) plot.replaceChildren(...shown.map(() => bar()));
  shown.forEach(({ upper, n }, i) => {
    const [column, label] = plot.children[i].children;
    column.style.blockSize = `${(52 * n) / most}px`;
    write(label, upper < 1000 ? upper : `${upper / 1000} s`);
  });
  const text = shown.map(({ upper, n }) => `${n} within ${upper}`).join(", ");
  plot.setAttribute("aria-label", `How long ${count} votes took, in milliseconds: ${text}`);
}

function bar() {
  const entry = make("span", "bar-of");
  entry.append(make("i"), make("small"));
  return entry;
}

// ---- The shift, from the journal ----

async function showShift() {
  if (document.hidden || !line.facts) return;
  const answer = await fetch("/history.json?hours=8").catch(() => null);
  if (!answer?.ok) return;
  const { from, step_s: step, lanes } = await answer.json();
  const names = Object.keys(lanes);
  $("shift").hidden = !names.length;
  if (!names.length) return;
  const totals = lanes[names[0]].map((_, i) => names.reduce((sum, name) => sum + lanes[name][i], 0));
  const most = Math.max(...totals, 1);
  const plot = $("shift-plot");
  plot.replaceChildren(
    ...totals.map((total, i) => {
      const column = make("span");
      column.title = `${clockTime(from + i * step)}: ${total}`;
      column.append(
        ...names.map((name) => {
          const part = make("i");
          part.style.blockSize = `${(100 * lanes[name][i]) / most}%`;
          part.style.setProperty("--lane", laneColour(name));
          return part;
        }),
      );
      return column;
    }),
  );
  const sum = totals.reduce((a, b) => a + b, 0);
  plot.setAttribute("aria-label", `${sum} items in the last ${totals.length * step / 3600} hours, at most ${most} in ${step / 60} minutes`);
  const hour = (at) => new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  $("shift-axis").replaceChildren(make("span", "", hour(from)), make("span", "", `at most ${whole.format(most)} in ${step / 60} min`), make("span", "", "now"));
}

// ---- Incidents ----

function showIncidents() {
  // The newest of each name, with how often it happened: its end is no happening.
  const open = new Map();
  for (const incident of line.incidents.values()) {
    if (incident.cleared) continue;
    const times = (open.get(incident.name)?.times ?? 0) + !incident.recovered;
    open.delete(incident.name);
    open.set(incident.name, { ...incident, times });
  }
  $("incidents-empty").hidden = open.size > 0;
  $("trouble").classList.toggle("open", open.size > 0);
  const list = $("incidents");
  const shown = [...open.values()].reverse().slice(0, 4);
  // Entries stay as they are while they can, so that no button vanishes under a finger or loses the focus.
  const old = new Map([...list.children].map((entry) => [entry.dataset.name, entry]));
  const entries = shown.map((incident) => fillIncident(old.get(incident.name) ?? incidentEntry(incident.name), incident));
  for (const entry of old.values()) if (!entries.includes(entry)) entry.remove();
  entries.forEach((entry, i) => list.children[i] !== entry && list.insertBefore(entry, list.children[i] ?? null));
}

function incidentEntry(name) {
  const entry = make("li", "incident");
  entry.dataset.name = name;
  const head = make("p", "incident-name");
  head.append(make("span", "", words(name)), make("time"));
  const clear = make("button", "button quiet", "Clear");
  clear.type = "button";
  clear.setAttribute("aria-label", `Clear ${words(name)}`);
  clear.addEventListener("click", () => post(`/incidents/${entry.dataset.number}/clear`, {}));
  entry.append(head, make("p", "incident-cause"), make("p", "incident-advice"), clear);
  return entry;
}

function fillIncident(entry, incident) {
  entry.dataset.number = incident.number;
  entry.classList.toggle("over", incident.recovered);
  const [head, cause, advice] = entry.children;
  write(head.lastChild, clockTime(incident.wall) + (incident.times > 1 ? `, ${incident.times} times` : ""));
  write(cause, `${sentence(incident.cause)}; ${incident.action}.`);
  write(advice, incident.recovered ? "It is well again." : ADVICE_FOR[incident.name] ?? ADVICE[incident.scope] ?? ADVICE.line);
  return entry;
}

// ---- The stream ----

const handlers = {
  hello(all) {
    // A line that came back as another version brings another page.
    if (line.facts && line.facts.version !== all.facts.version) location.reload();
    Object.assign(line, { facts: all.facts, state: all.state, incidents: new Map(all.incidents.map((i) => [i.number, i])) });
    for (const id of ["lane-list", "overlay"]) $(id).replaceChildren();
    delete $("overlay").dataset.gates;
    items.replace(all.decisions);
    model.facts(all.facts);
    const { camera, version } = all.facts;
    write($("foot"), version ? `${camera?.source ?? ""}   ·   sortline ${version}` : "");
    showIncidents();
    showShift();
    if (all.state?.outcomes) handlers.state(all.state);
  },
  state(state) {
    line.state = state;
    line.arrived = performance.now();
    showState();
  },
  decision: items.add,
  ending: items.change,
  check: items.change,
  incident(incident) {
    line.incidents.set(incident.number, incident);
    showIncidents();
  },
  picture: view.announce,
};

const stream = {
  source: null,
  open: false,
  heard: 0,
  wait: 500,

  connect() {
    stream.source?.close();
    stream.source = new EventSource("/events");
    stream.heard = performance.now();
    for (const [name, handle] of Object.entries(handlers)) {
      stream.source.addEventListener(name, (event) => {
        stream.heard = performance.now();
        stream.open = true;
        stream.wait = 500;
        handle(JSON.parse(event.data));
      });
    }
    stream.source.addEventListener("error", stream.lost);
  },

  // The browser gives up for good on some answers (a full house, a restart), so coming back is done here.
  lost() {
    stream.source.close();
    stream.open = false;
    showStatus();
    clearTimeout(stream.timer);
    stream.timer = setTimeout(stream.connect, stream.wait);
    stream.wait = Math.min(2 * stream.wait, 5000);
  },

  watch() {
    if (document.hidden || stream.source?.readyState === EventSource.CLOSED) return;
    if (performance.now() - stream.heard > 2 * SILENCE_MS) stream.lost();
    else showStatus();
  },
};

async function post(path, body) {
  const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  if (answer.status === 401) location.assign("/login");
  return answer;
}

// Pausing only makes everything pass by, so one touch does it. Resuming moves machinery: it asks first.
async function pauseOrResume() {
  if (!line.state?.paused) return post("/commands", { command: "pause", paused: true });
  const dialog = $("resume");
  dialog.returnValue = "";
  dialog.showModal();
}

$("pause").addEventListener("click", pauseOrResume);
$("resume").addEventListener("close", () => {
  if ($("resume").returnValue === "resume") post("/commands", { command: "pause", paused: false });
});

// Arming is the same: taking it back is one touch, giving it asks first.
async function armOrDisarm() {
  if (line.state?.armed !== false) return post("/commands", { command: "arm", armed: false });
  const dialog = $("arming");
  dialog.returnValue = "";
  dialog.showModal();
}

$("arm").addEventListener("click", armOrDisarm);
$("arming").addEventListener("close", () => {
  if ($("arming").returnValue === "arm") post("/commands", { command: "arm", armed: true });
});
$("theme").addEventListener("click", theme.toggle);

// A page that nobody sees takes no viewer's place; one that is seen keeps the tablet awake, where it may.
function seen() {
  if (document.hidden) {
    stream.source?.close();
    return;
  }
  stream.connect();
  navigator.wakeLock?.request("screen").catch(() => {});
}

document.addEventListener("visibilitychange", seen);
setInterval(stream.watch, 1000);
setInterval(showShift, 60_000);
seen();
