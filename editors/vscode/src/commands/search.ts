// Search All Runs…: searches the output of all runs while the user types.
import { CancellationTokenSource, ThemeIcon, window, type QuickPick, type QuickPickItem } from "vscode";
import type { App } from "../app";
import { MAX_HITS, search as find } from "../runs/hits";
import { formatAgo, iconOf, nameOf, placeOf, plain } from "../runs/run";
import { plainTerminalText } from "../runs/terminal-text";
import { Failure } from "../server/failure";
import type { Hit } from "../server/optional";
import type { Excerpts } from "../views/excerpts";
import { showInformation } from "../views/messages";

interface HitItem extends QuickPickItem {
  hit?: Hit;
}

/** The search starts this long after the last key. */
const DEBOUNCE_MS = 150;

/** `initialQuery` comes from a key binding. */
export async function search(app: App, excerpts: Excerpts, initialQuery?: string): Promise<void> {
  if (!(await app.server.ready()).can("run/search")) {
    void showInformation("Search requires a newer loomd.");
    return;
  }
  const pick = window.createQuickPick<HitItem>();
  pick.title = "Search All Runs";
  pick.placeholder = "Search output (smart case)";
  pick.matchOnDetail = true;
  pick.value = initialQuery ?? "";
  const [query, hit] = await pickHit(app, pick);
  if (hit) await openHit(app, excerpts, hit, query);
}

/** Opens the hit in the transcript of an agent, or in the output of any other run. */
export async function openHit(app: App, excerpts: Excerpts, hit: Hit, query: string): Promise<void> {
  await app.runs.refresh(hit.runId);
  const run = app.runs.get(hit.runId);
  if (!run) return;
  if (run.hasTranscript) app.transcripts.show(run, { find: query });
  else await excerpts.show(run, hit);
}

function pickHit(app: App, pick: QuickPick<HitItem>): Promise<[string, Hit | undefined]> {
  let source = new CancellationTokenSource();
  let timer: NodeJS.Timeout | undefined;
  const runSearch = async (query: string) => {
    source.cancel();
    source = new CancellationTokenSource();
    const { token } = source;
    if (query.trim() === "") {
      pick.items = [];
      pick.busy = false;
      return;
    }
    pick.busy = true;
    try {
      const hosts = app.hosts.names.map(name => app.hosts.of(name)).filter(({ state }) => state.kind === "running");
      await find([app.server, ...hosts], query, token, (hits, finished) => {
        pick.items = hits.length > 0 ? hits.map(hit => hitItem(app, hit)) : finished ? [{ label: "No results", alwaysShow: true }] : [];
        if (hits.length >= MAX_HITS) pick.items = [...pick.items, { label: `Showing the first ${MAX_HITS} results. Refine your search.`, alwaysShow: true }];
      });
    } catch (error) {
      if (!token.isCancellationRequested) pick.items = [{ label: Failure.from(error).message, iconPath: new ThemeIcon("error"), alwaysShow: true }];
    }
    if (!token.isCancellationRequested) pick.busy = false;
  };
  return new Promise(resolve => {
    pick.onDidChangeValue(value => {
      clearTimeout(timer);
      timer = setTimeout(() => void runSearch(value), DEBOUNCE_MS);
    });
    pick.onDidAccept(() => {
      const [row] = pick.selectedItems;
      if (!row?.hit) return;
      resolve([pick.value, row.hit]);
      pick.hide();
    });
    pick.onDidHide(() => {
      clearTimeout(timer);
      source.cancel();
      resolve([pick.value, undefined]);
      pick.dispose();
    });
    pick.show();
    if (pick.value !== "") void runSearch(pick.value);
  });
}

function hitItem(app: App, hit: Hit): HitItem {
  const run = app.runs.get(hit.runId);
  const line = plainTerminalText(hit.line).trim();
  return {
    // The hit's line is the detail, not the label: VS Code sorts rows by matches in labels, which would lose the
    // server's order, newest first.
    label: plain(run ? nameOf(run) : hit.runId),
    description: run ? `${placeOf(run)}${formatAgo(run.createdAt, Date.now())}` : "",
    detail: plain(line),
    ...(run ? { iconPath: new ThemeIcon(iconOf(run).icon.replace("~spin", "")) } : {}),
    // The server did the matching, so VS Code must not filter the rows again.
    alwaysShow: true,
    hit,
  };
}
