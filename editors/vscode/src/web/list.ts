// The list of runs: those that wait for an answer first, and what is found in output.
import type { Run } from "../protocol";
import { groupRuns, type RunGroups } from "../runs/groups";
import { formatAgo, formatElapsed, iconOf, isFinal, nameOf, stateLabel, visible } from "../runs/run";
import type { RunStore } from "../runs/store";
import { Failure } from "../server/failure";
import type { Hit } from "../server/optional";
import { button, element, icon } from "../webview/dom";
import type { WebLink } from "./connection";

const TITLES: Record<keyof RunGroups, string> = { waiting: "Waiting for you", live: "Active", ended: "Ended", idle: "Idle", earlier: "Earlier" };

/** Output is searched once nothing was typed for this long. */
const SEARCH_DELAY_MS = 300;
const MAX_HITS = 100;

export class RunList {
  readonly element: HTMLElement;
  private readonly search = element("input", { type: "search", aria: { label: "Search runs and output" } });
  private readonly groups = element("div", { class: "run-groups" });
  private readonly found = element("div", { class: "run-hits" });
  private readonly status = element("p", { class: "visually-hidden", role: "status" });
  private readonly since = Date.now();
  private selected: string | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private searches = 0;

  constructor(
    private readonly runs: RunStore,
    private readonly link: WebLink,
    private readonly open: (runId: string, find?: string) => void,
    private readonly tools: HTMLElement,
  ) {
    this.search.placeholder = "Search";
    this.element = element("div", { class: "run-list", role: "navigation", aria: { label: "Runs" } }, element("h1", { class: "visually-hidden" }, "Runs"), element("div", { class: "run-tools" }, this.search, this.tools), element("div", { class: "run-scroller" }, this.groups, this.found), this.status);
    this.search.addEventListener("input", () => {
      this.draw();
      clearTimeout(this.timer);
      this.timer = setTimeout(() => void this.searchOutput(), SEARCH_DELAY_MS);
    });
    this.groups.addEventListener("keydown", event => this.move(event));
    runs.onDidChange(() => this.draw());
    // Ages and elapsed times.
    setInterval(() => this.draw(), 10_000);
  }

  select(runId: string | undefined): void {
    this.selected = runId;
    this.draw();
  }

  focus(): void {
    (this.groups.querySelector<HTMLElement>("[aria-current]") ?? this.groups.querySelector<HTMLElement>("a") ?? this.search).focus();
  }

  private draw(): void {
    const query = this.search.value.trim().toLowerCase();
    const shown = [...this.runs.all()].filter(run => query === "" || `${nameOf(run)} ${run.provider} ${run.cwd} ${run.id}`.toLowerCase().includes(query));
    const groups = groupRuns(shown, this.since, run => this.runs.idleSince(run));
    const focused = (document.activeElement as HTMLElement | null)?.dataset["run"];
    const waiting = groups.waiting.length;
    this.status.textContent = waiting === 0 ? "" : waiting === 1 ? "1 run waits for you" : `${waiting} runs wait for you`;
    this.groups.replaceChildren(
      ...(Object.keys(TITLES) as (keyof RunGroups)[]).filter(name => groups[name].length > 0).map(name => {
        const title = element("h2", { class: "quiet" }, TITLES[name]);
        title.id = `group-${name}`;
        return element("section", { aria: { labelledby: title.id } }, title, element("ul", {}, ...groups[name].map(run => element("li", {}, this.row(run)))));
      }),
    );
    if (shown.length === 0) this.groups.append(element("p", { class: "quiet empty" }, query === "" ? "No runs yet." : "No run has this name."));
    if (this.runs.hasMore && query === "") this.groups.append(button("Show earlier runs", () => void this.runs.loadMore().catch(() => {}), "link"));
    if (focused) this.groups.querySelector<HTMLElement>(`[data-run="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  private row(run: Run): HTMLElement {
    const now = Date.now();
    const { icon: name } = iconOf(run);
    const time = isFinal(run) ? formatAgo(run.endedAt ?? run.createdAt, now) : formatElapsed(run, now);
    const made = element("a", { class: `run-row ${run.state}`, href: `/run/${run.id}`, data: { run: run.id }, title: visible(run.cwd), onClick: event => this.follow(event as MouseEvent, run.id) }, icon(name === "loading~spin" ? "loading codicon-modifier-spin" : name), element("span", { class: "run-name" }, visible(nameOf(run))), element("span", { class: "run-facts quiet" }, `${run.provider} · ${visible(stateLabel(run))} · ${time}`));
    if (run.id === this.selected) made.setAttribute("aria-current", "page");
    return made;
  }

  private follow(event: MouseEvent, runId: string, find?: string): void {
    // With these the browser opens another window, which needs the token: it has its own address for that.
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    this.open(runId, find);
  }

  /** Arrow keys go from run to run. */
  private move(event: KeyboardEvent): void {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const rows = [...this.groups.querySelectorAll<HTMLElement>("a[data-run]")];
    const at = rows.indexOf(document.activeElement as HTMLElement);
    if (step === undefined || at < 0) return;
    event.preventDefault();
    rows[at + step]?.focus();
  }

  private async searchOutput(): Promise<void> {
    const [search, query] = [++this.searches, this.search.value.trim()];
    if (query.length < 2) return this.found.replaceChildren();
    const hits: Hit[] = [];
    let cursor: string | undefined;
    try {
      do {
        const page = await this.link.request("run/search", { query, ignoreCase: true, limit: MAX_HITS - hits.length, ...(cursor === undefined ? {} : { cursor }) });
        if (search !== this.searches) return;
        hits.push(...page.hits);
        cursor = page.nextCursor ?? undefined;
        this.showHits(query, hits, cursor !== undefined && hits.length < MAX_HITS);
      } while (cursor !== undefined && hits.length < MAX_HITS);
    } catch (error) {
      this.found.replaceChildren(element("p", { class: "quiet empty" }, Failure.from(error).message));
    }
  }

  private showHits(query: string, hits: readonly Hit[], goesOn: boolean): void {
    const title = element("h2", { class: "quiet" }, "In output");
    title.id = "group-found";
    const rows = hits.map(({ runId, line }) => {
      const run = this.runs.get(runId);
      return element("li", {}, element("a", { class: "run-row", href: `/run/${runId}`, onClick: event => this.follow(event as MouseEvent, runId, query) }, icon("search"), element("span", { class: "run-name" }, visible(line.trim().slice(0, 200))), element("span", { class: "run-facts quiet" }, visible(run ? nameOf(run) : runId))));
    });
    const end = goesOn ? "Searching…" : hits.length === 0 ? "Nothing found in output." : hits.length >= MAX_HITS ? `The first ${MAX_HITS} lines are shown.` : "";
    this.found.replaceChildren(element("section", { aria: { labelledby: title.id } }, title, element("ul", {}, ...rows), ...(end === "" ? [] : [element("p", { class: "quiet empty" }, end)])));
  }
}
