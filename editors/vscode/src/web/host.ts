// What the transcript's page wants and an editor would do: here in dialogs of the page.
import type { PermissionMode, Run, RunId, StartParams } from "../protocol";
import { rerunParams } from "../runs/rerun";
import { nameOf, visible } from "../runs/run";
import type { RunStore } from "../runs/store";
import type { ExportFormat } from "../server/optional";
import { partsOf } from "../transcript/context";
import type { ToPage } from "../transcript/messages";
import type { HostAction } from "../transcript/session";
import { renderPatch, renderTexts } from "../webview/diff";
import { element } from "../webview/dom";
import type { WebLink } from "./connection";
import { field, select, showDialog } from "./dialog";

const EXPORTS: readonly (readonly [ExportFormat, label: string, suffix: string])[] = [
  ["html", "Web page", "html"],
  ["markdown", "Markdown", "md"],
  ["text", "Output as text", "txt"],
  ["jsonl", "All entries (JSON lines)", "jsonl"],
  ["asciicast", "Terminal recording (asciicast)", "cast"],
];

const PERMISSION_MODES: readonly (readonly [PermissionMode, string])[] = [
  ["ask", "Ask"],
  ["acceptEdits", "Accept edits"],
  ["readOnly", "Read only"],
  ["bypass", "Ask nothing"],
];

export class HostActions {
  constructor(
    private readonly link: WebLink,
    private readonly runs: RunStore,
    private readonly post: (message: ToPage) => void,
    private readonly open: (runId: string) => void,
  ) {}

  async act(runId: string, message: HostAction): Promise<void> {
    const run = this.runs.get(runId);
    switch (message.kind) {
      case "cancel":
        return this.cancel(runId);
      case "configure":
        return this.configure(runId);
      case "changes":
        return this.showChanges(runId);
      case "openOutput":
        return this.exportRun(runId);
      case "queued":
        return this.showQueue(runId);
      case "rerun":
        if (run) await this.start(rerunParams(run));
        return;
      case "takeover":
        return void showDialog("Continue in Terminal", ["On the machine that runs loomd, this ends the run here and opens its session in the agent's own program:", element("pre", { tabIndex: 0 }, `loomd takeover ${runId.slice(-8)}`)], [{ label: "Close" }]);
      case "openFile":
        return void showDialog("File", ["A browser does not open files. Its path:", element("pre", { tabIndex: 0 }, visible(message.path))], [{ label: "Close" }]);
      case "find":
        return this.post({ kind: "found", query: message.query, found: [] });
      case "copy":
        return navigator.clipboard.writeText(message.text);
      default:
        // The page offers these only where there is an editor.
        return;
    }
  }

  /** Starts a run and shows it. */
  async start(params: StartParams): Promise<Run> {
    const { run } = await this.link.request("run/start", { ...params, attach: false, onDisconnect: "detach" });
    this.runs.put(run);
    this.open(run.id);
    return run;
  }

  /** Resumes the session of an ended run in a new one. */
  async resume(run: Run, prompt: StartParams["prompt"]): Promise<Run> {
    const params = { ...rerunParams(run), prompt, interactive: true, resume: { runId: run.id } } as StartParams;
    const next = (await this.link.request("run/start", params)).run;
    this.runs.put(next);
    return next;
  }

  /** *New Run…*: an agent's task or a command, and where it runs. */
  startDialog(): void {
    const known = [...this.runs.all()].sort((a, b) => (a.id < b.id ? 1 : -1));
    const providers = (this.link.handshake?.providers ?? []).filter(({ available, kind, id }) => available && (kind !== "acp" || id !== "acp"));
    const provider = select(providers.map(({ id, title }) => [id, title]));
    const text = element("textarea", { class: "task" });
    text.rows = 5;
    const cwd = element("input", { type: "text" });
    const places = element("datalist");
    places.id = "places";
    for (const place of new Set(known.map(run => run.cwd))) places.append(Object.assign(element("option"), { value: place }));
    cwd.setAttribute("list", places.id);
    cwd.value = known[0]?.cwd ?? "";
    const permissions = select(PERMISSION_MODES);
    const model = element("input", { type: "text" });
    model.placeholder = "Agent's default";
    const fields = { provider: field("Run with", provider), text: field("Task", text), cwd: field("Folder", cwd), permissions: field("Permission mode", permissions), model: field("Model", model) };
    const isCommand = () => providers.find(({ id }) => id === provider.value)?.kind === "command";
    const draw = () => {
      fields.permissions.hidden = fields.model.hidden = isCommand();
      fields.text.firstElementChild!.textContent = isCommand() ? "Command" : "Task";
      text.placeholder = isCommand() ? "cargo test" : "Describe the task";
    };
    const latest = known.find(run => providers.some(({ id }) => id === run.provider))?.provider;
    if (latest !== undefined) provider.value = latest;
    provider.addEventListener("change", draw);
    draw();
    const start = async () => {
      const input = text.value.trim();
      if (input === "") throw new Error(isCommand() ? "Enter a command." : "Describe the task.");
      const place = cwd.value.trim() === "" ? {} : { cwd: cwd.value.trim() };
      const named = providers.find(({ id }) => id === provider.value);
      const what: Partial<StartParams> = isCommand() ? { command: ["/bin/sh", "-c", input], tty: true } : { prompt: input, interactive: named?.capabilities.send ?? false, permissions: permissions.value as PermissionMode, ...(model.value.trim() === "" ? {} : { model: model.value.trim() }) };
      await this.start({ provider: provider.value, ...place, ...what } as StartParams);
    };
    showDialog("New Run", [fields.provider, fields.text, fields.cwd, places, fields.permissions, fields.model], [{ label: "Close" }, { label: "Start", act: start, primary: true }]);
    text.focus();
  }

  private cancel(runId: RunId): void {
    const name = visible(nameOf(this.runs.get(runId)!));
    showDialog("End Run?", [`“${name}” and all its processes end.`], [
      { label: "Close" },
      { label: "End Run", primary: true, act: async () => this.runs.put((await this.link.request("run/cancel", { runId })).run) },
    ]);
  }

  private configure(runId: RunId): void {
    const params = this.runs.get(runId)?.params ?? {};
    const model = element("input", { type: "text" });
    model.value = String(params["model"] ?? "");
    const permissions = select(PERMISSION_MODES);
    permissions.value = String(params["permissions"] ?? "ask");
    const apply = async () => {
      const name = model.value.trim();
      const { run } = await this.link.request("run/configure", { runId, permissions: permissions.value as PermissionMode, ...(name === "" ? {} : { model: name }) });
      this.runs.put(run);
    };
    showDialog("Model and Permission Mode", [element("p", { class: "quiet" }, "From the next turn on."), field("Model", model), field("Permission mode", permissions)], [{ label: "Close" }, { label: "Change", primary: true, act: apply }]);
  }

  private async showChanges(runId: RunId): Promise<void> {
    const { files, complete } = await this.link.request("run/changes", { runId });
    const parts = files.flatMap(file =>
      element("section", { class: "change" }, element("h3", { class: "change-head" }, visible(file.path)), file.patch != null ? renderPatch(file.path, file.patch) : renderTexts(file.path, file.oldText ?? "", file.newText ?? "")),
    );
    const note = files.length === 0 ? "No changed files are known." : complete ? "" : "Commands may have changed other files, too.";
    const dialog = showDialog("Changes", [...parts, ...(note === "" ? [] : [element("p", { class: "quiet" }, note)])], [{ label: "Close", primary: true }]);
    dialog.classList.add("wide");
  }

  private exportRun(runId: RunId): void {
    const format = select(EXPORTS.map(([id, label]) => [id, label]));
    const save = async () => {
      const chosen = format.value as ExportFormat;
      const { content } = await this.link.request("run/export", { runId, format: chosen });
      const suffix = EXPORTS.find(([id]) => id === chosen)![2];
      // Never shown by the browser itself, whatever it holds.
      const address = URL.createObjectURL(new Blob([content ?? ""], { type: "application/octet-stream" }));
      const anchor = element("a", { href: address });
      anchor.download = `loomd-${runId.slice(-8)}.${suffix}`;
      anchor.click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    };
    showDialog("Export", [field("Format", format)], [{ label: "Close" }, { label: "Download", primary: true, act: save }]);
  }

  private async showQueue(runId: RunId): Promise<void> {
    const { prompts } = await this.link.request("run/queue", { runId });
    const rows = prompts.map(({ promptId, prompt }) => {
      const row = element("li", {}, element("span", { class: "grow" }, visible(partsOf(prompt).text)));
      const edit = element("button", { class: "button", type: "button" }, "Take back");
      edit.addEventListener("click", async () => {
        const taken = await this.link.request("run/unqueue", { runId, promptId }).catch(() => undefined);
        dialog.close();
        if (taken) this.post({ kind: "draft", ...partsOf(taken.prompt) });
      });
      row.append(edit);
      return row;
    });
    const dialog = showDialog("Queued Messages", [element("ul", { class: "queue" }, ...rows)], [{ label: "Close", primary: true }]);
  }
}
