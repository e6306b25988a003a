// What runs, whether its world has changed since the start, and what another model would have said.
"use strict";

const DRIFT = {
  confidence: ["Confidence", (value) => `${percent(value)} %`],
  brightness: ["Brightness", (value) => value.toFixed(0)],
  unknown: ["Unknown", (value) => `${percent(value)} %`],
  classes: ["Mix of classes", null],
};

const model = {
  facts({ model: runs, shadow }) {
    if (!runs) return;
    write($("model-name"), `${runs.name} ${runs.version}, on ${runs.provider}`);
    write($("model-file"), `SHA-256 ${runs.sha256}${runs.why ? `\n${runs.why}` : ""}`, "\n");
    $("shadow").hidden = !shadow;
    if (shadow) model.shadow();
  },

  drift(drift) {
    if (!drift) return;
    const { window: many, have, things } = drift;
    const ready = Object.keys(things).length > 0;
    write($("drift-note"), ready ? `The newest ${many} items beside the first ${many}.` : `After ${2 * many} items the newest are held against the first; ${have} have come.`);
    const list = $("drift");
    for (const [name, one] of Object.entries(things)) {
      let row = list.querySelector(`[data-thing="${name}"]`);
      if (!row) {
        row = make("li");
        row.dataset.thing = name;
        row.append(make("span"), make("span"));
        list.append(row);
      }
      const [word, form] = DRIFT[name] ?? [words(name), null];
      row.dataset.drifted = one.drifted;
      write(row.firstChild, word);
      const values = form ? `${form(one.before)} → ${form(one.now)}` : "";
      write(row.lastChild, `${values}  ${one.drifted ? "changed" : "steady"}`.trim());
      row.title = `Stability index ${one.psi.toFixed(2)}; by chance up to ${one.chance.toFixed(2)}`;
    }
  },

  async shadow() {
    if (document.hidden || !line.facts?.shadow) return;
    const answer = await fetch("/shadow.json").catch(() => null);
    if (!answer?.ok) return;
    const { seen, same_lane: same, skipped, model: runs, differ, trouble } = await answer.json();
    write($("shadow-name"), trouble ? sentence(trouble) : runs.name ? `${runs.name} ${runs.version}` : "loading");
    write($("shadow-share"), seen ? `${percent(same / seen)} %` : "–");
    write($("shadow-of"), `of ${whole.format(seen)} items in the same lane${skipped ? `, ${whole.format(skipped)} left out` : ""}`);
    $("shadow-differ").replaceChildren(
      ...differ.slice(-4).reverse().map((one) => make("li", "", `Item ${one.item_id}: ${one.lane}, the shadow ${one.shadow_lane} (${one.shadow_label} ${percent(one.shadow_confidence, 0)} %)`)),
    );
  },
};

setInterval(model.shadow, 3000);
