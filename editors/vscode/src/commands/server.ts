// The server's own commands.
import { env, Uri, window } from "vscode";
import type { App } from "../app";

export async function restartServer(app: App): Promise<void> {
  await app.server.restart();
}

export async function stopServer(app: App): Promise<void> {
  await app.server.stop("loomd was stopped here; its runs go on. “loomd: Restart Server” starts it again.");
}

export function aboutText(app: App): string {
  const { server, context } = app;
  const own = (context.extension.packageJSON as { version: string }).version;
  const lines = [`extension ${own}`];
  if (server.state.is === "running") {
    const { hello, pid } = server.state.connection;
    lines.push(`loomd ${hello.serverInfo.version} (process ${pid ?? "?"}, protocol ${hello.protocolVersion})`, `store ${hello.storePath}`);
    for (const provider of hello.providers) lines.push(`provider ${provider.id}: ${provider.available ? (provider.program ?? "available") : (provider.reason ?? "not available")}`);
  } else {
    lines.push(`server: ${server.state.is}${server.state.is === "down" ? `, ${server.state.failure.message}` : ""}`);
  }
  return lines.join("\n");
}

/** `Server Version / Report Issue`. */
export async function about(app: App): Promise<void> {
  const text = aboutText(app);
  const choice = await window.showInformationMessage(text.split("\n").slice(0, 2).join(", "), "Copy Details", "Report Issue", "Show Log");
  if (choice === "Copy Details") await env.clipboard.writeText(text);
  if (choice === "Show Log") app.log.show();
  if (choice !== "Report Issue") return;
  const { bugs } = app.context.extension.packageJSON as { bugs?: { url?: string } };
  await env.clipboard.writeText(text);
  if (bugs?.url) await env.openExternal(Uri.parse(bugs.url));
  else void window.showInformationMessage("The details are in the clipboard. Report the issue where you got loomd from.");
}
