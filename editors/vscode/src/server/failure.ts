// What can go wrong between the editor and the server, in words for a person and a kind for the code.
import { ResponseError } from "vscode-jsonrpc/node";
import type { FailureKind } from "../protocol";

/** `gone`: the server ended before it answered. `version`: it speaks another protocol. `missing`: there is no program. `stopped`: nobody started it. */
export type Kind = FailureKind | "gone" | "version" | "missing" | "stopped";

export class Failure extends Error {
  constructor(
    readonly kind: Kind,
    message: string,
    readonly data: Record<string, unknown> = {},
  ) {
    super(message);
  }

  /** An error answer keeps its message, its kind and what else it says. */
  static from(error: unknown): Failure {
    if (error instanceof Failure) return error;
    if (error instanceof ResponseError) {
      const data = (error.data ?? {}) as Record<string, unknown>;
      return new Failure((data["kind"] as Kind | undefined) ?? "internal", error.message, data);
    }
    return new Failure("internal", error instanceof Error ? error.message : String(error));
  }
}
