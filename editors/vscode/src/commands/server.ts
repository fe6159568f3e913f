// Commands about the servers: restart, stop, connect to a host again, about, report an issue.
import { env, ThemeIcon, Uri, window } from "vscode";
import type { App } from "../app";
import { showInformation } from "../views/messages";
import type { RunsNode } from "../views/tree";

export async function restartServer(app: App): Promise<void> {
  await app.server.restart();
}

export async function stopServer(app: App): Promise<void> {
  await app.server.stop("loomd server stopped. Runs keep going.");
}

/** `Connect Again`: connects to the host of a row, or to one that the user picks, at once. */
export async function connectHost(app: App, node?: RunsNode): Promise<void> {
  const name = node?.kind === "host" ? node.name : await pickHost(app.hosts.names.filter(name => app.hosts.get(name)?.state.kind !== "running"), "Select a host to connect to");
  if (name !== undefined) await app.hosts.of(name).start();
}

async function pickHost(names: readonly string[], placeHolder: string): Promise<string | undefined> {
  return names.length === 0 ? void showInformation("All hosts are connected.") : window.showQuickPick(names, { placeHolder });
}

/** Where something is done: this computer (`undefined`) or a host, which is asked for only if there are hosts. */
export async function pickPlace(app: App, placeHolder: string): Promise<{ host: string | undefined } | undefined> {
  if (app.hosts.names.length === 0) return { host: undefined };
  const rows = [{ label: "This Computer", description: "", host: undefined, iconPath: new ThemeIcon("device-desktop") }, ...app.hosts.names.map(host => ({ label: host, description: app.hosts.of(host).state.kind === "running" ? "" : "not connected", host, iconPath: new ThemeIcon("vm") }))];
  return window.showQuickPick(rows, { placeHolder });
}

export function aboutText(app: App): string {
  const { server, context } = app;
  const own = (context.extension.packageJSON as { version: string }).version;
  const lines = [`Extension ${own}`];
  if (server.state.kind === "running") {
    const { handshake: hello, pid } = server.state.connection;
    lines.push(`loomd ${hello.serverInfo.version} (process ${pid ?? "?"}, protocol ${hello.protocolVersion})`, `store ${hello.storePath}`);
    for (const provider of hello.providers) lines.push(`provider ${provider.id}: ${provider.available ? (provider.program ?? "available") : (provider.reason ?? "not available")}`);
  } else {
    lines.push(`server: ${server.state.kind}${server.state.kind === "down" ? `, ${server.state.failure.message}` : ""}`);
  }
  for (const name of app.hosts.names) {
    const there = app.hosts.of(name);
    lines.push(`host ${name}: ${there.handshake ? `loomd ${there.handshake.serverInfo.version}` : there.state.kind === "down" ? there.state.failure.message : there.state.kind}`);
  }
  return lines.join("\n");
}

/** `About loomd`. */
export async function about(app: App): Promise<void> {
  const text = aboutText(app);
  const choice = await showInformation(text.split("\n").slice(0, 2).join(", "), "Copy Details", "Report Issue", "Show Log");
  if (choice === "Copy Details") await env.clipboard.writeText(text);
  if (choice === "Show Log") app.log.show();
  if (choice === "Report Issue") await reportIssue(app);
}

/** `Report Issue…`: copies the details and opens the page for issues, if package.json names one. */
export async function reportIssue(app: App): Promise<void> {
  const { bugs } = app.context.extension.packageJSON as { bugs?: { url?: string } };
  await env.clipboard.writeText(aboutText(app));
  if (bugs?.url) await env.openExternal(Uri.parse(bugs.url));
  else void showInformation("Details copied to the clipboard.");
}
