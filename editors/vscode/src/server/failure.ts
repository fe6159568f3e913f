// Errors of the server and of the connection to it: a message for the user and a kind for the code.
import { ResponseError } from "vscode-jsonrpc/node";
import type { FailureKind } from "../protocol";

/**
 * `gone`: the server exited before it responded. `version`: its protocol differs. `missing`: no executable was found.
 * `stopped`: it was not started.
 */
export type Kind = FailureKind | "gone" | "version" | "missing" | "stopped";

export class Failure extends Error {
  constructor(
    readonly kind: Kind,
    message: string,
    readonly data: Record<string, unknown> = {},
  ) {
    super(message);
  }

  /** Converts any error. An error response keeps its message, kind and data. */
  static from(error: unknown): Failure {
    if (error instanceof Failure) return error;
    if (error instanceof ResponseError) {
      const data = (error.data ?? {}) as Record<string, unknown>;
      return new Failure((data["kind"] as Kind | undefined) ?? "internal", error.message, data);
    }
    return new Failure("internal", error instanceof Error ? error.message : String(error));
  }
}
