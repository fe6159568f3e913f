// Search in All Runs…: what any run printed, found as it is typed.
import { CancellationTokenSource, ThemeIcon, window, type QuickPick, type QuickPickItem } from "vscode";
import type { App } from "../app";
import { isAgent } from "../base";
import { MOST, search as find } from "../runs/hits";
import { ago, iconOf, nameOf } from "../runs/words";
import { Failure } from "../server/failure";
import type { Hit } from "../server/optional";
import type { Excerpts } from "../views/excerpts";

interface Row extends QuickPickItem {
  hit?: Hit;
}

/** After the last key, so long nothing is asked. */
const PAUSE_MS = 150;

/** `given`: what to look for, from a key binding. */
export async function search(app: App, excerpts: Excerpts, given?: string): Promise<void> {
  if (!(await app.server.ready()).can("run/search")) {
    void window.showInformationMessage("This loomd cannot search yet; update it.");
    return;
  }
  const pick = window.createQuickPick<Row>();
  pick.title = "Search in All Runs";
  pick.placeholder = "What a run printed; with a capital letter, upper and lower case are told apart";
  pick.matchOnDetail = true;
  pick.value = given ?? "";
  const [query, hit] = await chosen(app, pick);
  if (hit) await openHit(app, excerpts, hit, query);
}

/** Where it stands: in the transcript of an agent, in the output of any other run. */
export async function openHit(app: App, excerpts: Excerpts, hit: Hit, query: string): Promise<void> {
  await app.runs.refresh(hit.runId);
  const run = app.runs.get(hit.runId);
  if (!run) return;
  if (isAgent(app, run)) app.transcripts.show(run, { find: query });
  else await excerpts.show(run, hit);
}

function chosen(app: App, pick: QuickPick<Row>): Promise<[string, Hit | undefined]> {
  let source = new CancellationTokenSource();
  let timer: NodeJS.Timeout | undefined;
  const look = async (query: string) => {
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
      await find(app.server, query, token, (hits, over) => {
        pick.items = hits.length > 0 ? hits.map(hit => row(app, hit)) : over ? [{ label: "No run has printed that.", alwaysShow: true }] : [];
        if (hits.length >= MOST) pick.items = [...pick.items, { label: `The first ${MOST} are shown; say more of it.`, alwaysShow: true }];
      });
    } catch (error) {
      if (!token.isCancellationRequested) pick.items = [{ label: Failure.from(error).message, iconPath: new ThemeIcon("error"), alwaysShow: true }];
    }
    if (!token.isCancellationRequested) pick.busy = false;
  };
  return new Promise(resolve => {
    pick.onDidChangeValue(value => {
      clearTimeout(timer);
      timer = setTimeout(() => void look(value), PAUSE_MS);
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
    if (pick.value !== "") void look(pick.value);
  });
}

function row(app: App, hit: Hit): Row {
  const run = app.runs.get(hit.runId);
  const line = hit.line.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, "").trim();
  return {
    // Labels that match what was typed would be sorted by where they match, and the server's order, newest first, be lost.
    label: run ? nameOf(run) : hit.runId,
    description: run ? ago(run.createdAt, Date.now()) : "",
    detail: line,
    ...(run ? { iconPath: new ThemeIcon(iconOf(run).icon.replace("~spin", "")) } : {}),
    // What was found was found by the server; the list leaves nothing out.
    alwaysShow: true,
    hit,
  };
}
