// The page of *New Run…*: the task or command, and beside it with what it is run.
import type { FormChoices, FormInput, FromForm, ToForm } from "../transcript/form";
import { Attachments } from "./attachments";
import { Completion } from "./complete";
import { button, element } from "./dom";
import { History } from "./history";
import { takeImages } from "./images";

declare function acquireVsCodeApi(): { postMessage(message: FromForm): void; getState(): Partial<FormInput> | undefined; setState(state: Partial<FormInput>): void };

const vscode = acquireVsCodeApi();
let choices: FormChoices | undefined;
let history = new History([]);

const attachments = new Attachments(() => save());
const save = () => vscode.setState(input());
const text = element("textarea", { class: "task", aria: { label: "Task" } });
text.rows = 8;
/** A command has no context. */
const completion = new Completion(text, ({ trigger, query }) => {
  if (trigger === "@" && isAgent()) vscode.postMessage({ kind: "find", query });
});
const selects = Object.fromEntries((["template", "provider", "permissions", "cwd"] as const).map(name => [name, element("select", { data: { name } })])) as Record<"template" | "provider" | "permissions" | "cwd", HTMLSelectElement>;
const model = element("input", { type: "text" });
const models = element("datalist");
models.id = "models";
model.setAttribute("list", models.id);
model.placeholder = "Agent's default";
const worktree = element("input", { type: "checkbox" });
const worktreeField = element("label", { class: "check" }, worktree, "Run in a new git worktree, on a branch of its own");
const error = element("p", { class: "error-bar", role: "alert" });
error.hidden = true;
const field = (label: string, control: HTMLElement) => element("label", { class: "field" }, element("span", {}, label), control);
const fields = { template: field("Template", selects.template), provider: field("Run with", selects.provider), model: field("Model", model), permissions: field("Permission mode", selects.permissions), cwd: field("Folder", selects.cwd) };
const startButton = button("Start", () => start(), "primary");
const form = element("form", { class: "start-form", aria: { label: "New Run" } }, element("h1", { class: "name" }, "New Run"), error, ...attachments.elements, element("div", { class: "completed" }, text, completion.list), element("div", { class: "fields" }, ...Object.values(fields), models), worktreeField, element("div", { class: "composer-row" }, element("span", { class: "quiet hint" }, "Enter to start, Shift+Enter for a new line, ↑ for earlier ones"), startButton));
document.body.append(element("main", { class: "form-page" }, form));

const input = (): FormInput => ({ provider: selects.provider.value, text: text.value, model: model.value.trim(), permissions: selects.permissions.value as FormInput["permissions"], cwd: selects.cwd.value, template: selects.template.value, worktree: worktree.checked, context: attachments.all });
const isAgent = () => choices?.providers.find(({ id }) => id === selects.provider.value)?.isAgent ?? false;

function fill(values: Partial<FormInput>): void {
  if (values.text !== undefined) text.value = values.text;
  if (values.context) attachments.add(values.context);
  if (values.model !== undefined) model.value = values.model;
  if (values.worktree !== undefined) worktree.checked = values.worktree;
  for (const name of ["provider", "permissions", "cwd", "template"] as const) {
    const value = values[name];
    if (value !== undefined && [...selects[name].options].some(option => option.value === value)) selects[name].value = value;
  }
}

function options(select: HTMLSelectElement, entries: readonly (readonly [value: string, label: string])[]): void {
  select.replaceChildren(...entries.map(([value, label]) => Object.assign(element("option", {}, label), { value })));
}

/** Shows the fields that the chosen provider has. */
function draw(): void {
  const agent = isAgent();
  for (const each of [attachments.box, ...form.querySelectorAll<HTMLElement>(".attachment-preview")]) each.classList.toggle("unused", !agent);
  fields.model.hidden = fields.permissions.hidden = !agent;
  fields.cwd.hidden = (choices?.folders.length ?? 0) < 2;
  worktreeField.hidden = (choices?.folders.length ?? 0) === 0;
  fields.template.hidden = (choices?.templates.length ?? 0) === 0;
  text.placeholder = agent ? "Describe the task" : "Command to run";
  startButton.disabled = text.value.trim() === "";
}

function providerChanged(): void {
  const provider = choices?.providers.find(({ id }) => id === selects.provider.value);
  model.value = provider?.model ?? "";
  models.replaceChildren();
  if (provider?.isAgent) vscode.postMessage({ kind: "models", provider: provider.id, cwd: selects.cwd.value });
}

function start(): void {
  if (startButton.disabled) return;
  error.hidden = true;
  startButton.disabled = true;
  vscode.postMessage({ kind: "start", input: input() });
}

takeImages(form, images => isAgent() && (attachments.add(images), save()), message => (([error.textContent, error.hidden] = [message, false])), () => (isAgent() ? undefined : "A command takes no images."));
form.addEventListener("submit", event => event.preventDefault());
form.addEventListener("input", ({ target }) => {
  if (target === selects.provider) providerChanged();
  const template = target === selects.template && choices?.templates.find(({ name }) => name === selects.template.value);
  if (template) {
    fill({ provider: template.provider ?? selects.provider.value });
    providerChanged();
    fill(template);
  }
  save();
  draw();
});
text.addEventListener("keydown", event => {
  if (history.key(event, text)) return save(), draw();
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  start();
});

window.addEventListener("message", ({ data }: MessageEvent<ToForm>) => {
  switch (data.kind) {
    case "choices":
      choices = data.choices;
      history = new History(choices.history);
      options(selects.template, [["", "None"], ...choices.templates.map(({ name }) => [name, name] as const)]);
      options(selects.provider, choices.providers.map(({ id, title }) => [id, title]));
      options(selects.permissions, choices.permissionModes);
      options(selects.cwd, choices.folders.map(({ name, path }) => [path, name]));
      fill(choices.initial);
      providerChanged();
      fill({ ...choices.initial, ...vscode.getState() });
      draw();
      return text.focus();
    case "models":
      if (data.provider === selects.provider.value) models.replaceChildren(...data.models.map(({ id, name }) => Object.assign(element("option", {}, name), { value: id })));
      return;
    case "found":
      return completion.offer("@", data.query, data.found.map(attachment => ({ label: attachment.label, detail: "", insert: `@${attachment.label}`, accept: () => attachments.add([attachment]) })));
    case "failed":
      error.textContent = data.message;
      error.hidden = false;
      return draw();
  }
});

vscode.postMessage({ kind: "ready" });
