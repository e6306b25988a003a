// The last decisions, and one item looked at closely: its deadline ledger, and what a person says that it is.
// Loaded before live.js, whose `line` and helpers it uses once the first decision comes.
"use strict";

const SHOWN_DECISIONS = 24;
const HOLD_MS = 6000; // cards stand still so long after a hand was near them, so that the right one can be touched
const LEDGER = ["waiting", "finding", "queueing", "classifying", "voting", "output"];
const OUTCOMES = {
  confirmed: "seen to come out in its lane",
  fired: "pushed",
  passed: "passed on to the end of the belt",
  missed: "missed its diverter",
  lost: "lost from sight",
};

const items = {
  known: new Map(), // what is known of each item on a card
  held: [], // decisions that wait until the cards may move again
  stillUntil: 0,
  open: null, // the item that the dialog shows

  add(decision) {
    items.known.set(decision.item_id, decision);
    items.held.push(decision);
    if (items.held.length > SHOWN_DECISIONS) items.known.delete(items.held.shift().item_id);
    items.release();
  },

  // Shows what has come meanwhile, unless somebody is about to touch a card.
  release() {
    if (performance.now() < items.stillUntil || $("item").open) return;
    const list = $("decisions");
    for (const decision of items.held.splice(0)) list.prepend(items.card(items.known.get(decision.item_id) ?? decision));
    while (list.children.length > SHOWN_DECISIONS) {
      items.known.delete(Number(list.lastChild.dataset.item));
      list.lastChild.remove();
    }
    $("decisions-empty").hidden = list.children.length > 0;
    // A card for which the screen has no room has no height, and takes no focus either.
    for (const card of list.children) card.firstChild.tabIndex = card.offsetHeight ? 0 : -1;
  },

  replace(decisions) {
    items.known.clear();
    items.held = [];
    $("decisions").replaceChildren();
    $("decisions-empty").hidden = false;
    decisions.slice(-SHOWN_DECISIONS).forEach(items.add);
  },

  // Something more is known of an item: how it ended, or what a person says.
  change({ item_id: id, ...more }) {
    const decision = items.known.get(id);
    if (!decision) return;
    Object.assign(decision, more);
    const card = $("decisions").querySelector(`[data-item="${id}"]`);
    if (card) items.mark(card, decision);
    if (items.open === id) items.show(decision);
  },

  card(decision) {
    const card = make("li", "decision");
    card.dataset.item = decision.item_id;
    card.style.setProperty("--lane", laneColour(decision.lane));
    const button = make("button", "card");
    button.type = "button";
    const crop = decision.crop ? make("img") : make("span", "no-crop");
    if (decision.crop) Object.assign(crop, { src: items.address(decision), alt: "", width: 96, height: 96 });
    button.append(
      crop,
      make("span", "decision-label", items.title(decision)),
      make("span", "decision-detail", items.detail(decision)),
      make("span", "decision-lane", decision.lane),
    );
    button.title = `Item ${decision.item_id}, ${clockTime(decision.wall)}`;
    button.addEventListener("click", () => items.look(decision.item_id));
    card.append(button);
    items.mark(card, decision);
    return card;
  },

  address: (decision) => `/crops/${decision.item_id}.jpg?at=${decision.decided_at}`,

  title(decision) {
    if (decision.reason === "unknown") return decision.strange ? "Stranger" : "Unsure";
    return decision.reason === "classified" ? decision.label : REASONS[decision.reason] ?? decision.reason;
  },

  detail(decision) {
    if (!decision.label) return "";
    const sure = `${percent(decision.confidence, 0)} %`;
    return decision.reason === "classified" ? sure : `${decision.label}? ${sure}`;
  },

  mark(card, decision) {
    card.classList.toggle("failed", decision.outcome === "missed" || decision.outcome === "lost");
    card.classList.toggle("checked", Boolean(decision.checked));
  },

  look(id) {
    const decision = items.known.get(id);
    if (!decision) return;
    items.open = id;
    write($("item-said"), "");
    items.show(decision);
    $("item").showModal();
  },

  show(decision) {
    const crop = $("item-crop");
    crop.hidden = !decision.crop;
    if (decision.crop && crop.dataset.item !== String(decision.item_id)) crop.src = items.address(decision);
    crop.dataset.item = decision.item_id;
    write($("item-title"), `Item ${decision.item_id}: ${items.title(decision)}`);
    write($("item-detail"), [items.detail(decision), clockTime(decision.wall)].filter(Boolean).join("  ·  "));
    write($("item-lane"), `${decision.lane}${decision.outcome ? `, ${OUTCOMES[decision.outcome]}` : ", on its way"}`);
    $("item").style.setProperty("--lane", laneColour(decision.lane));
    items.ledger(decision.spent_s ?? {});
    items.choices(decision);
  },

  ledger(spent) {
    const rows = LEDGER.map((stage) => [stage, spent[stage]]);
    rows.push(["left at its last moment", spent.margin]);
    $("item-ledger").replaceChildren(
      ...rows.map(([stage, seconds]) => {
        const row = make("div");
        row.append(make("dt", "", sentence(stage)), make("dd", "", typeof seconds === "number" ? `${(1000 * seconds).toFixed(1)} ms` : "–"));
        return row;
      }),
    );
  },

  choices(decision) {
    const classes = line.facts?.model?.classes ?? [];
    const said = decision.checked;
    const group = $("item-choices");
    if (group.dataset.item !== String(decision.item_id)) {
      group.dataset.item = decision.item_id;
      group.replaceChildren(
        ...[...classes, null].map((label) => {
          const button = make("button", "button", label ?? "none of these");
          button.type = "button";
          button.addEventListener("click", () => items.say(decision.item_id, label));
          return button;
        }),
      );
    }
    [...classes, null].forEach((label, n) => group.children[n].setAttribute("aria-pressed", String(Boolean(said) && said.label === label)));
  },

  async say(id, label) {
    const answer = await post("/labels", { item_id: id, label }).catch(() => null);
    const content = await answer?.json().catch(() => null);
    if (!answer?.ok) return write($("item-said"), content?.error ?? "The line did not answer; try again.");
    write($("item-said"), content.status === "kept" ? "Thank you: the picture is kept for the next training." : "Thank you: it counts. No picture is kept: the line has none of this item, or journal.pictures names no folder, or it refuses (an incident says so).");
  },

  still: () => (items.stillUntil = performance.now() + HOLD_MS),
  move: () => (items.stillUntil = 0),
};

addEventListener("DOMContentLoaded", () => {
  for (const event of ["pointerdown", "pointermove", "focusin"]) $("decisions").addEventListener(event, items.still);
  $("decisions").addEventListener("pointerleave", (event) => event.pointerType === "mouse" && items.move());
  $("item").addEventListener("close", () => {
    items.open = null;
    items.move();
    items.release();
  });
});
