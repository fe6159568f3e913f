// The HTML of a page of ours: its script, its styles, and a policy that allows nothing else.
import { randomBytes } from "node:crypto";
import { Uri, type Webview } from "vscode";

/** `script` is the name of a bundle in dist/. */
export function pageHtml(webview: Webview, extension: Uri, script: string, title: string): string {
  const nonce = randomBytes(16).toString("base64");
  const assetUri = (name: string) => webview.asWebviewUri(Uri.joinPath(extension, "dist", name)).toString();
  // The page loads only our script, style and font, and images only as data that an agent sent. It cannot connect to
  // anything.
  const policy = `default-src 'none'; script-src 'nonce-${nonce}'; style-src ${webview.cspSource}; font-src ${webview.cspSource}; img-src data:; form-action 'none'; base-uri 'none'`;
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="${assetUri("codicon.css")}">
<link rel="stylesheet" href="${assetUri("transcript.css")}">
<title>${title}</title>
</head>
<body>
<script nonce="${nonce}" src="${assetUri(script)}"></script>
</body>
</html>`;
}
