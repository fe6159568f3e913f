// The page of a transcript. It draws the visible items of those that the extension sends, asks for earlier ones when the
// reader comes to them, and sends the reader's actions back.
import { formatCount, formatDuration } from "../runs/run";
import { plainText, Transcript, type Row } from "../transcript/items";
import type { Header, ToExtension, ToPage } from "../transcript/messages";
import { bridge, type SavedState } from "./bridge";
import { Composer } from "./composer";
import { button, element, icon, iconButton } from "./dom";
import { Find } from "./find";
import { Renderer } from "./items";
import { List } from "./list";
import { readableText } from "./markdown";
import { PlanBar } from "./plan";

const host = bridge();
/** The items that were asked for with nothing omitted, and as of which entry. */
const requested = new Map<number, number>();
const post = (message: ToExtension) => {
  if (message.kind === "item") {
    const lastSeq = transcript.get(message.item)?.lastSeq ?? 0;
    if (requested.get(message.item) === lastSeq) return;
    requested.set(message.item, lastSeq);
  }
  host.post(message);
};

let transcript = new Transcript();
let header: Header | undefined;
let announced = "";
let loadingEarlier = false;
/** A permission request to be shown once its item is here; "" is the first one. */
let wantedQuestion: string | undefined;
/** An item to be shown once it is here. */
let wantedItem: number | undefined;
/** Incremented for an item that has to be drawn again although it is the same. */
const redraws = new Map<number, number>();

let rows: Row[] = [];
let rowIndexes = new Map<number, number>();
let structure = -1;

const redraw = (number: number) => {
  redraws.set(number, (redraws.get(number) ?? 0) + 1);
  updateList(true);
};

/** Draws what has changed. `rowsChanged`: items may have been expanded or collapsed. */
function updateList(rowsChanged = false): void {
  const changed = rowsChanged || structure !== transcript.structure;
  if (changed) {
    structure = transcript.structure;
    rows = transcript.rows(item => renderer.isOpen(item));
    rowIndexes = new Map(rows.map(({ number }, index) => [number, index]));
  }
  list.update(changed);
}

const renderer = new Renderer(() => transcript, post, redraw);
const list = new List({
  count: () => rows.length,
  total: () => transcript.total,
  key: index => rows[index]!.number,
  indexOf: number => rowIndexes.get(number) ?? -1,
  draw: (number, into) => renderer.draw(rows[rowIndexes.get(number)!]!, into),
  revision: number => `${transcript.revision(number)}/${redraws.get(number) ?? 0}/${renderer.revision(transcript.get(number)!)}`,
  label: number => renderer.label(transcript.get(number)!),
});

/** Shows an item, whatever it is inside of. */
function reveal(number: number, focus: boolean, align: "start" | "center" = "center"): void {
  for (let parent = transcript.parentOf(number); parent !== undefined; parent = transcript.parentOf(parent)) {
    const item = transcript.get(parent)!;
    if (!renderer.isOpen(item)) renderer.fold(item, true);
  }
  updateList(true);
  list.show(number, focus, align);
}

/** The texts that Find searches, and the revisions of their items. */
const searchTexts = new Map<number, { revision: number; text: string }>();
function searchText(number: number): string {
  const [revision, known] = [transcript.revision(number), searchTexts.get(number)];
  if (known?.revision === revision) return known.text;
  const item = transcript.get(number)!;
  const text = (item.kind === "message" && item.role === "agent") || item.kind === "thought" ? readableText(item.text) : plainText(item);
  searchTexts.set(number, { revision, text });
  return text;
}

const find = new Find({
  numbers: () => transcript.all(),
  text: number => searchText(number),
  show: number => {
    const item = transcript.get(number)!;
    if (!renderer.isOpen(item)) renderer.fold(item, true);
    reveal(number, false);
  },
  boxes: () => list.boxes(),
});
const save = (state: SavedState) => host.setState({ ...host.getState(), ...state });
const composer = new Composer(post, host.getState()?.draft ?? "", draft => save({ draft }), message => showError(message));

const title = element("h1", { class: "name" });
const stateText = element("span", { class: "state" });
const usage = element("span", { class: "usage quiet" });
const actions = element("div", { class: "actions" });
const headerBar = element("header", { class: "top" }, element("div", { class: "line" }, title, stateText), element("div", { class: "line" }, usage, actions));
const errorBar = element("div", { class: "error-bar", role: "alert" });
const permissionBar = element("div", { class: "permission-bar", role: "region", aria: { label: "Permission needed" } });
const empty = element("p", { class: "empty quiet" }, "No messages yet.");
const toEnd = iconButton("arrow-down", "Scroll to Bottom", () => list.toEnd(), "to-end");
/** Screen readers announce its text: permission requests and ends of turns, not every message. */
const liveRegion = element("div", { class: "visually-hidden", role: "status", aria: { live: "polite" } });
errorBar.hidden = permissionBar.hidden = toEnd.hidden = true;

const planBar = new PlanBar();
(document.getElementById("transcript") ?? document.body).append(headerBar, find.bar, errorBar, planBar.bar, element("main", {}, empty, list.scroller, toEnd), permissionBar, composer.form, liveRegion);
list.mount();
list.onFollowing = stuck => (toEnd.hidden = stuck);
list.onDrawn = () => {
  if (find.isOpen) find.mark();
  showPermissionBar();
  loadEarlier();
};
find.onClose = () => list.refocus();
find.onSearch = loadEarlier;

host.onMessage((data: ToPage) => {
  switch (data.kind) {
    case "header":
      return showHeader(data.header);
    case "items":
      errorBar.hidden = true;
      transcript = new Transcript();
      transcript.total = data.total;
      redraws.clear();
      searchTexts.clear();
      requested.clear();
      renderer.reset();
      loadingEarlier = false;
      takePage(data.items, data.prev);
      list.reset();
      return;
    case "earlier":
      loadingEarlier = false;
      return takePage(data.items, data.prev);
    case "item":
      transcript.takePage([data.item], true);
      return changed();
    case "changes": {
      const open = transcript.questions().length;
      for (const change of data.changes) transcript.takeChange(change);
      errorBar.hidden = true;
      // Where a request was, another one may be now.
      if (transcript.questions().length < open) renderer.questions.settled();
      return changed();
    }
    case "visible":
      return renderer.questions.settled();
    case "failed":
      showError(data.message);
      composer.failed();
      loadingEarlier = false;
      renderer.questions.forgetAnswers();
      for (const { item } of transcript.questions()) redraw(item);
      return;
    case "sent":
      composer.sent();
      list.toEnd();
      return;
    case "attach":
      return composer.attach(data.context, data.text);
    case "draft":
      return composer.draft(data.context, data.text);
    case "found":
      return composer.found(data.query, data.found);
    case "find":
      return find.open(data.query);
    case "focus": {
      const [question] = transcript.questions();
      if (question) return reveal(question.item, true, "start");
      return composer.focus() || list.refocus();
    }
    case "question":
      wantedQuestion = data.permissionId ?? "";
      return showQuestion();
    case "reveal":
      wantedItem = data.item;
      loadEarlier();
      return showWantedItem();
  }
});

function showError(message: string): void {
  errorBar.replaceChildren(icon("error"), message, iconButton("close", "Dismiss", () => (errorBar.hidden = true)));
  errorBar.hidden = false;
}

function takePage(items: Extract<ToPage, { kind: "earlier" }>["items"], prev: number | undefined): void {
  transcript.prev = prev;
  transcript.takePage(items, false);
  // The calls whose sub-agents have items here, so that these stand below them.
  for (const { parent } of items) if (parent != null && !transcript.get(parent)) post({ kind: "item", item: parent });
  list.busy(false);
  changed();
}

function changed(): void {
  empty.hidden = transcript.size > 0;
  updateList();
  find.refresh();
  announce();
  showUsage();
  showPlan();
  showQuestion();
  showWantedItem();
}

/** Asks for the page before the first item, when the reader comes to it, searches, or a request is not here. */
function loadEarlier(): void {
  const missing = (wantedItem !== undefined && !transcript.get(wantedItem)) || (header?.run.permissions ?? []).some(entry => transcript.isEarlier(entry));
  if (transcript.prev === undefined || loadingEarlier || !(missing || find.isSearching || (list.nearStart && rows.length > 0))) return;
  loadingEarlier = true;
  list.busy(true);
  post({ kind: "earlier", before: transcript.prev });
}

function showQuestion(): void {
  if (wantedQuestion === undefined) return;
  const question = transcript.questions().find(({ permissionId }) => wantedQuestion === "" || permissionId === wantedQuestion);
  if (!question) return;
  wantedQuestion = undefined;
  reveal(question.item, true, "start");
}

function showWantedItem(): void {
  const item = wantedItem === undefined ? undefined : transcript.get(wantedItem);
  if (!item) return;
  wantedItem = undefined;
  if (!renderer.isOpen(item)) renderer.fold(item, true);
  reveal(item.item, true, "start");
}

document.addEventListener("keydown", event => {
  const typing = (event.target as HTMLElement).matches("input, textarea, select");
  if ((event.key === "f" && (event.ctrlKey || event.metaKey)) || (event.key === "/" && !typing)) {
    event.preventDefault();
    return find.open();
  }
  if (event.key === "Escape" && find.isOpen) return find.close();
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const box = (event.target as HTMLElement).closest<HTMLElement>("article[data-item]");
  const item = box && transcript.get(Number(box.dataset["item"]));
  if (!item) return;
  if (event.key === "a" || event.key === "d") {
    if (item.kind === "permission" && renderer.questions.answer(item, event.key === "a" ? "allow" : "deny")) event.preventDefault();
  } else if (event.target === box && (event.key === "Enter" || event.key === " ") && renderer.canFold(item)) {
    event.preventDefault();
    renderer.fold(item);
  } else if (event.key === "c" && event.target === box) {
    post({ kind: "copy", text: plainText(item) });
  }
});

function showHeader(next: Header): void {
  const changed = header?.stateLabel !== next.stateLabel || header.final !== next.final || header.can.takeover !== next.can.takeover;
  header = next;
  if (renderer.cwd !== next.run.cwd || renderer.questions.canAnswer !== next.can.answer || renderer.agent !== next.provider) for (const [number] of list.boxes()) redraws.set(number, (redraws.get(number) ?? 0) + 1);
  renderer.cwd = next.run.cwd;
  renderer.agent = next.provider;
  renderer.questions.canAnswer = next.can.answer;
  const last = transcript.last();
  const takenOver = next.run.takenOverAt != null;
  // The run's last item may arrive before the header that says that its session was continued in a terminal.
  if (takenOver !== renderer.takenOver && last) redraws.set(last.item, (redraws.get(last.item) ?? 0) + 1);
  renderer.takenOver = takenOver;
  updateList();
  save({ runId: next.run.id });
  document.title = next.name;
  title.textContent = next.name;
  title.title = next.name;
  showState();
  showUsage();
  showPlan();
  composer.show(next);
  if (!changed && actions.childElementCount > 0) return;
  const { final, can } = next;
  actions.replaceChildren(
    ...[
      iconButton("search", "Find", () => find.open()),
      can.configure && iconButton("settings", "Change Model or Permission Mode", () => post({ kind: "configure" })),
      host.hasEditor ? iconButton("terminal", "Open Output", () => post({ kind: "openOutput" })) : iconButton("export", "Export", () => post({ kind: "openOutput" })),
      iconButton("diff-multiple", "Show Changes", () => post({ kind: "changes" })),
      host.hasEditor && iconButton("checklist", "Review Changes", () => post({ kind: "review" })),
      can.takeover && iconButton("person", "Continue in Terminal", () => post({ kind: "takeover" })),
      can.answer && (final ? iconButton("debug-rerun", "Run Again", () => post({ kind: "rerun" })) : iconButton("debug-stop", "End Run", () => post({ kind: "cancel" }))),
    ].filter(made => made !== false),
  );
}

function showState(): void {
  if (!header) return;
  const { run } = header;
  const time = formatDuration((run.endedAt ?? Date.now()) - (run.startedAt ?? run.createdAt));
  const state = `${header.provider} · ${header.stateLabel} · ${time}`;
  stateText.className = `state ${run.state}`;
  if (stateText.textContent !== state) stateText.textContent = state;
}

function showUsage(): void {
  if (!header) return;
  const { run } = header;
  const parts: string[] = [];
  const { inputTokens, outputTokens, cachedInputTokens, costUsd } = run.usage ?? {};
  if (inputTokens != null) parts.push(`${formatCount(inputTokens)} in`);
  if (outputTokens != null) parts.push(`${formatCount(outputTokens)} out`);
  if (costUsd != null) parts.push(`$${costUsd.toFixed(2)}`);
  const { used, size } = run.agent?.context ?? {};
  if (used != null && size) parts.push(`${Math.max(0, 100 - Math.round((used / size) * 100))}% context left`);
  usage.replaceChildren(parts.join(" · "));
  if (run.queued) {
    const show = button(`${run.queued} ${run.queued === 1 ? "message" : "messages"} queued`, () => post({ kind: "queued" }), "link");
    show.title = "Edit or remove queued messages";
    usage.append(parts.length > 0 ? " · " : "", show);
  }
  const tokens = inputTokens == null ? "" : `Tokens: ${inputTokens} in${cachedInputTokens ? ` (${cachedInputTokens} cached)` : ""}, ${outputTokens ?? 0} out`;
  usage.title = [tokens, used != null && size ? `Context: ${formatCount(used)} of ${formatCount(size)} tokens used` : ""].filter(line => line !== "").join("\n");
}

/** Shows the plan of the running turn, wherever the reader is. */
function showPlan(): void {
  const { run } = header ?? {};
  const plan = transcript.get(transcript.lastPlan ?? 0);
  const works = run !== undefined && header?.final === false && run.state !== "idle";
  const isCurrent = plan?.kind === "plan" && (run?.turn == null || plan.turn == null || plan.turn === run.turn);
  planBar.show(works && isCurrent ? plan.entries : undefined);
}

/** Shows a bar at the bottom while the first open permission request is not visible. */
function showPermissionBar(): void {
  const first = transcript.questions()[0];
  const box = first && list.visible(first.item);
  const inSight = box && box.getBoundingClientRect().bottom > 0 && box.getBoundingClientRect().top < list.scroller.getBoundingClientRect().bottom;
  permissionBar.hidden = !first || inSight === true;
  if (!first || permissionBar.dataset["for"] === first.permissionId) return;
  permissionBar.dataset["for"] = first.permissionId;
  permissionBar.replaceChildren(icon("bell-dot"), element("span", { class: "grow" }, `Permission needed: ${first.shown[0]?.text ?? ""}`), button("Review", () => reveal(first.item, true, "start"), "primary"));
}

function announce(): void {
  const question = transcript.questions()[0];
  const last = transcript.last();
  const text = question ? `Permission request: ${question.shown[0]?.text ?? ""}` : last?.kind === "turn" ? renderer.label(last) : "";
  if (text === announced) return;
  announced = text;
  liveRegion.textContent = text;
}

// Updates the elapsed time of an active run.
setInterval(() => header && !header.final && showState(), 1000);

post({ kind: "ready" });
