// The page's connection to its host: an extension, or in a browser the part of the page that speaks to the server.
import type { ToExtension, ToPage } from "../transcript/messages";

/** What survives a reload of the page. The host shows the transcript of `runId` again. */
export interface SavedState {
  runId?: string;
  draft?: string;
}

export interface Bridge {
  /** Whether the host opens files, compares texts, keeps rules and takes changes back. A browser does none of that. */
  readonly hasEditor: boolean;
  post(message: ToExtension): void;
  onMessage(listener: (message: ToPage) => void): void;
  getState(): SavedState | undefined;
  setState(state: SavedState): void;
}

declare function acquireVsCodeApi(): { postMessage(message: ToExtension): void; getState(): SavedState | undefined; setState(state: SavedState): void };

let current: Bridge | undefined;

/** Sets the host, before the page's other modules are loaded. Without this it is VS Code. */
export function setBridge(bridge: Bridge): void {
  current = bridge;
}

export function bridge(): Bridge {
  return (current ??= vscodeBridge());
}

function vscodeBridge(): Bridge {
  const vscode = acquireVsCodeApi();
  return {
    hasEditor: true,
    post: message => vscode.postMessage(message),
    onMessage: listener => window.addEventListener("message", ({ data }: MessageEvent<ToPage>) => listener(data)),
    getState: () => vscode.getState(),
    setState: state => vscode.setState(state),
  };
}
