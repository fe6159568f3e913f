// Commands about the server: restart, stop, about, report an issue.
import { env, Uri } from "vscode";
import type { App } from "../app";
import { showInformation } from "../views/messages";

export async function restartServer(app: App): Promise<void> {
  await app.server.restart();
}

export async function stopServer(app: App): Promise<void> {
  await app.server.stop("loomd server stopped. Runs keep going.");
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
