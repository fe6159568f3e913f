// The page of a transcript. It folds the entries that the extension sends, draws what is in sight, and says what the reader wants.
import { duration } from "../runs/words";
import { plainText, Transcript } from "../transcript/fold";
import type { Head, ToExtension, ToPage } from "../transcript/messages";
import { Composer } from "./composer";
import { button, element, icon, iconButton } from "./dom";
import { Find } from "./find";
import { Drawer } from "./items";
import { List } from "./list";

declare function acquireVsCodeApi(): { postMessage(message: ToExtension): void; setState(state: unknown): void };

const vscode = acquireVsCodeApi();
const tell = (message: ToExtension) => vscode.postMessage(message);

let transcript = new Transcript();
let head: Head | undefined;
let announced = "";
/** Raised for an item that is drawn anew though its content is the same. */
const redraws = new Map<number, number>();

const redraw = (index: number) => {
  redraws.set(index, (redraws.get(index) ?? 0) + 1);
  list.update();
};
const drawer = new Drawer(tell, redraw);
const list = new List({
  count: () => transcript.items.length,
  draw: (index, into) => drawer.draw(transcript.items[index]!, into),
  revision: index => transcript.items[index]!.revision + (redraws.get(index) ?? 0) * 1_000_000,
  label: index => drawer.label(transcript.items[index]!),
});
const find = new Find({
  count: () => transcript.items.length,
  text: index => plainText(transcript.items[index]!),
  show: index => {
    const item = transcript.items[index]!;
    if (!drawer.open(item)) drawer.fold(item, true);
    list.show(index, false);
  },
  boxes: () => list.boxes(),
});
const composer = new Composer(tell);

const title = element("h1", { class: "name" });
const words = element("span", { class: "state" });
const usage = element("span", { class: "usage quiet" });
const actions = element("div", { class: "actions" });
const header = element("header", { class: "top" }, element("div", { class: "line" }, title, words), element("div", { class: "line" }, usage, actions));
const problem = element("div", { class: "problem", role: "alert" });
const waiting = element("div", { class: "waiting-bar", role: "region", aria: { label: "Waiting for you" } });
const empty = element("p", { class: "empty quiet" }, "Nothing has been said yet.");
const toEnd = button("Newest", () => list.toEnd(), "to-end");
/** What a screen reader hears without moving: questions and ends, not every word. */
const spoken = element("div", { class: "unseen", role: "status", aria: { live: "polite" } });
problem.hidden = waiting.hidden = toEnd.hidden = true;
toEnd.prepend(icon("arrow-down"));

document.body.append(header, find.bar, problem, element("main", {}, empty, list.scroller, toEnd), waiting, composer.box, spoken);
list.mount();
list.onStuck = stuck => (toEnd.hidden = stuck);
list.onDrawn = () => {
  if (find.isOpen) find.mark();
  showWaiting();
};
find.onClose = () => list.refocus();

window.addEventListener("message", ({ data }: MessageEvent<ToPage>) => {
  switch (data.say) {
    case "head":
      return showHead(data.head);
    case "reset":
      transcript = new Transcript();
      redraws.clear();
      drawer.reset();
      list.busy(true);
      list.reset();
      return;
    case "entries":
      transcript.add(data.entries);
      // Acknowledged once it is folded: what is fetched ahead waits in the extension, not here.
      tell({ say: "took", number: data.number });
      problem.hidden = true;
      empty.hidden = transcript.items.length > 0;
      list.busy(false);
      list.update();
      find.refresh();
      announce();
      showUsage();
      return;
    case "failed":
      problem.replaceChildren(icon("error"), data.message, iconButton("close", "Dismiss", () => (problem.hidden = true)));
      problem.hidden = false;
      composer.failed();
      drawer.unsend();
      for (const { tool } of transcript.open()) redraw(tool.index);
      return;
    case "sent":
      composer.sent();
      list.toEnd();
      return;
    case "find":
      return find.open(data.query);
  }
});

document.addEventListener("keydown", event => {
  const typing = (event.target as HTMLElement).matches("input, textarea, select");
  if ((event.key === "f" && (event.ctrlKey || event.metaKey)) || (event.key === "/" && !typing)) {
    event.preventDefault();
    return find.open();
  }
  if (event.key === "Escape" && find.isOpen) return find.close();
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const box = (event.target as HTMLElement).closest<HTMLElement>("article[data-index]");
  const item = box && transcript.items[Number(box.dataset["index"])];
  if (!item) return;
  if (event.key === "a" || event.key === "d") {
    if (drawer.answer(item, event.key === "a" ? "allow" : "deny")) event.preventDefault();
  } else if (event.target === box && (event.key === "Enter" || event.key === " ") && (item.is === "tool" || item.is === "thought")) {
    event.preventDefault();
    drawer.fold(item);
  } else if (event.key === "c" && event.target === box) {
    tell({ say: "copy", text: plainText(item) });
  }
});

function showHead(next: Head): void {
  const changed = head?.words !== next.words || head.final !== next.final || head.can.takeover !== next.can.takeover;
  head = next;
  drawer.cwd = next.run.cwd;
  const last = transcript.items.length - 1;
  const takenOver = next.run.takenOverAt != null;
  // The run's last entry may have come before the word that it was taken over.
  if (takenOver !== drawer.takenOver && last >= 0) redraw(last);
  drawer.takenOver = takenOver;
  vscode.setState({ runId: next.run.id });
  document.title = next.name;
  title.textContent = next.name;
  title.title = next.name;
  showState();
  showUsage();
  composer.show(next);
  if (!changed && actions.childElementCount > 0) return;
  const { final, can } = next;
  actions.replaceChildren(
    ...[
      iconButton("search", "Find", () => find.open()),
      can.configure && iconButton("settings", "Change model or permissions", () => tell({ say: "configure" })),
      iconButton("terminal", "Open output", () => tell({ say: "openOutput" })),
      iconButton("diff-multiple", "Show changes", () => tell({ say: "changes" })),
      can.takeover && iconButton("person", "Take over in a terminal", () => tell({ say: "takeover" })),
      final ? iconButton("debug-rerun", "Run again", () => tell({ say: "rerun" })) : iconButton("debug-stop", "Cancel the run", () => tell({ say: "cancel" })),
    ].filter(made => made !== false),
  );
}

function showState(): void {
  if (!head) return;
  const { run } = head;
  const time = duration((run.endedAt ?? Date.now()) - (run.startedAt ?? run.createdAt));
  const state = `${head.provider} · ${head.words} · ${time}`;
  words.className = `state ${run.state}`;
  if (words.textContent !== state) words.textContent = state;
}

function showUsage(): void {
  if (!head) return;
  const { run } = head;
  const parts: string[] = [];
  const { inputTokens, outputTokens, cachedInputTokens, costUsd } = run.usage ?? {};
  if (inputTokens != null) parts.push(`${inputTokens} tokens in${cachedInputTokens ? ` (${cachedInputTokens} cached)` : ""}`);
  if (outputTokens != null) parts.push(`${outputTokens} out`);
  if (costUsd != null) parts.push(`$${costUsd.toFixed(2)}`);
  if (transcript.context) parts.push(`context ${Math.round((100 * transcript.context.used) / Math.max(1, transcript.context.size))} % full`);
  if (run.queued) parts.push(`${run.queued} queued`);
  usage.textContent = parts.join(" · ");
}

/** A question that is out of sight is told of at the bottom. */
function showWaiting(): void {
  const first = transcript.open()[0];
  const box = first && list.visible(first.tool.index);
  const inSight = box && box.getBoundingClientRect().bottom > 0 && box.getBoundingClientRect().top < list.scroller.getBoundingClientRect().bottom;
  waiting.hidden = !first || inSight === true;
  if (!first || waiting.dataset["for"] === first.question.permissionId) return;
  waiting.dataset["for"] = first.question.permissionId;
  waiting.replaceChildren(icon("bell-dot"), element("span", { class: "grow" }, `Waiting for you: ${first.tool.title}`), button("Go to question", () => list.show(first.tool.index, true), "primary"));
}

function announce(): void {
  const asked = transcript.open()[0];
  const last = transcript.items.at(-1);
  const text = asked ? `The agent asks for permission: ${asked.tool.title}` : last?.is === "turn" ? drawer.label(last) : "";
  if (text === announced) return;
  announced = text;
  spoken.textContent = text;
}

// The clock of a live run; nothing else runs without a reason.
setInterval(() => head && !head.final && showState(), 1000);

tell({ say: "ready" });
