// Filter Runs…: by text while it is typed, and by state, agent and folder.
import { commands, ConfigurationTarget, QuickPickItemKind, window, workspace, type QuickPickItem } from "vscode";
import type { App } from "../app";
import { filterText, folderName, isFiltering, NO_FILTER, STATE_FILTERS, type Grouping, type RunFilter, type StateFilter } from "../runs/filter";
import { plain } from "../runs/run";

interface FilterItem extends QuickPickItem {
  part?: { states?: StateFilter; providers?: string; folders?: string };
}

/** `requested`, from a key binding or another extension, skips the picker. */
export async function filterRuns(app: App, requested?: Partial<RunFilter>): Promise<void> {
  if (requested) return setFilter(app, { ...NO_FILTER, ...requested });
  const pick = window.createQuickPick<FilterItem>();
  const { filter } = app.tree;
  pick.title = "Filter Runs";
  pick.placeholder = "Type words, or select states, agents and folders";
  pick.canSelectMany = true;
  pick.items = filterItems(app);
  pick.selectedItems = pick.items.filter(({ part }) => part && ((part.states && filter.states.includes(part.states)) || (part.providers !== undefined && filter.providers.includes(part.providers)) || (part.folders !== undefined && filter.folders.includes(part.folders))));
  pick.value = filter.text;
  const apply = (selected: readonly FilterItem[]) => {
    const values = <K extends "states" | "providers" | "folders">(name: K) => selected.flatMap(({ part }) => (part?.[name] === undefined ? [] : [part[name]!]));
    void setFilter(app, { text: pick.value, states: values("states"), providers: values("providers"), folders: values("folders") });
  };
  pick.onDidChangeValue(() => apply(pick.selectedItems));
  pick.onDidChangeSelection(apply);
  pick.onDidAccept(() => pick.hide());
  pick.onDidHide(() => pick.dispose());
  pick.show();
}

function filterItems(app: App): FilterItem[] {
  const runs = [...app.runs.all()];
  const separator = (label: string): FilterItem => ({ label, kind: QuickPickItemKind.Separator });
  const distinct = (values: string[]) => [...new Set(values)].sort();
  // What is typed is a filter of the runs, not of these rows.
  return [
    separator("State"),
    ...Object.entries(STATE_FILTERS).map(([states, label]): FilterItem => ({ label, alwaysShow: true, part: { states: states as StateFilter } })),
    separator("Agent"),
    ...distinct(runs.map(({ provider }) => provider)).map((providers): FilterItem => ({ label: plain(providers), alwaysShow: true, part: { providers } })),
    separator("Folder"),
    ...distinct(runs.map(({ cwd }) => cwd)).map((folders): FilterItem => ({ label: plain(folderName(folders)), description: plain(folders), alwaysShow: true, part: { folders } })),
  ];
}

export async function setFilter(app: App, filter: RunFilter): Promise<void> {
  void commands.executeCommand("setContext", "loomd.filtered", isFiltering(filter));
  if (isFiltering(filter)) app.log.debug(`The list is filtered by ${filterText(filter)}`);
  await app.tree.setFilter(filter);
}

/** `Group by …`: a setting, so that it is synced. */
export async function groupBy(grouping: Grouping): Promise<void> {
  await workspace.getConfiguration("loomd").update("groupBy", grouping === "state" ? undefined : grouping, ConfigurationTarget.Global);
}
