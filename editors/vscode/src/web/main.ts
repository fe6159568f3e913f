// The page of `loomd web`: the list of runs, and beside it the transcript of one. The transcript is the same page as in
// VS Code; this side of it speaks to the server.
import { Feeds } from "../runs/feed";
import { RunStore } from "../runs/store";
import type { ToPage } from "../transcript/messages";
import { TranscriptSession } from "../transcript/session";
import { setBridge, type SavedState } from "../webview/bridge";
import { button, element, icon, iconButton } from "../webview/dom";
import { WebLink } from "./connection";
import { HostActions } from "./host";
import { RunList } from "./list";

/** Where the token and the transcript's state are kept: as long as this window, and for no other site. */
const TOKEN_KEY = "loomd.token";
const STATE_KEY = "loomd.state";

/** Takes the token out of the address, so that it is in no history and in no picture of the screen. */
function takeToken(): string {
  const given = /^#token=([0-9a-f]+)$/.exec(location.hash)?.[1];
  if (given !== undefined) sessionStorage.setItem(TOKEN_KEY, given);
  if (location.hash !== "") history.replaceState(history.state, "", location.pathname);
  return sessionStorage.getItem(TOKEN_KEY) ?? "";
}

const link = new WebLink(takeToken());
const [runs, feeds] = [new RunStore(link), new Feeds(link)];

let listener: (message: ToPage) => void = () => {};
let session: TranscriptSession | undefined;
/** A message of the page that came before there was a session. */
let isReady = false;

setBridge({
  hasEditor: false,
  post: message => {
    if (message.kind === "ready") isReady = true;
    void session?.handle(message);
  },
  onMessage: take => (listener = take),
  getState: () => JSON.parse(sessionStorage.getItem(STATE_KEY) ?? "{}") as SavedState,
  setState: state => sessionStorage.setItem(STATE_KEY, JSON.stringify(state)),
});

const post = (message: ToPage) => listener(message);
const actions = new HostActions(link, runs, post, runId => show(runId));
const startButton = button("New Run", () => actions.startDialog(), "primary");
const list = new RunList(runs, link, (runId, find) => show(runId, { find }), startButton);
const linkBar = element("div", { class: "link-bar", role: "status" });
const transcript = element("div", { class: "transcript" });
transcript.id = "transcript";
const back = element("nav", { class: "back-bar", aria: { label: "Back" } }, iconButton("arrow-left", "Back to Runs", () => show(undefined)), element("span", {}, "Runs"));
const nothing = element("section", { class: "nothing quiet", aria: { label: "Transcript" } }, "Select a run, or start one.");
transcript.append(back);
linkBar.hidden = true;
document.body.append(linkBar, element("div", { class: "columns" }, list.element, transcript, nothing));

/** Shows a run, or the list alone. */
function show(runId: string | undefined, { find, replace = false }: { find?: string | undefined; replace?: boolean } = {}): void {
  const path = runId === undefined ? "/" : `/run/${runId}`;
  if (location.pathname !== path) history[replace ? "replaceState" : "pushState"]({}, "", path);
  document.body.classList.toggle("has-run", runId !== undefined);
  list.select(runId);
  // Without a transcript the list is what the page is about.
  list.element.role = runId === undefined ? "main" : "navigation";
  if (runId === undefined) {
    session?.dispose();
    session = undefined;
    document.title = "loomd";
    return list.focus();
  }
  if (session?.runId !== runId) {
    session?.dispose();
    session = new TranscriptSession({ server: link, runs, feeds }, runId, {
      post,
      act: message => actions.act(session?.runId ?? runId, message),
      resume: (run, prompt) => actions.resume(run, prompt),
      onRunReplaced: next => show(next),
      get readOnly() {
        return link.readOnly;
      },
    });
    if (isReady) void session.handle({ kind: "ready" });
  }
  session.postWhenReady(find === undefined ? { kind: "focus" } : { kind: "find", query: find });
}

/** Links of a transcript open elsewhere, and tell the other site nothing. */
function openElsewhere({ target }: Event): void {
  const anchor = (target as Element).closest?.<HTMLAnchorElement>("#transcript a[href]");
  if (anchor && /^https?:/i.test(anchor.getAttribute("href") ?? "")) [anchor.target, anchor.rel] = ["_blank", "noopener noreferrer"];
}

for (const name of ["click", "auxclick"]) document.addEventListener(name, openElsewhere, true);

const routed = () => /^\/run\/([0-9a-f-]{36})$/.exec(location.pathname)?.[1];
window.addEventListener("popstate", () => show(routed()));

function showLink(): void {
  const { state } = link;
  linkBar.hidden = state.kind === "running";
  startButton.hidden = link.readOnly;
  document.body.classList.toggle("read-only", link.readOnly);
  if (state.kind === "down") linkBar.replaceChildren(icon("error"), state.message);
  if (state.kind === "starting") linkBar.replaceChildren(icon("loading codicon-modifier-spin"), link.handshake ? "The connection broke. Connecting again… Runs go on." : "Connecting…");
}

link.onDidChange(showLink);
showLink();
show(routed(), { replace: true });
void import("../webview/main").then(() => link.start());
