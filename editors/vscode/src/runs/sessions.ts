// The sessions that agents keep themselves, also those that were started outside loomd.
import type { CancellationToken } from "vscode-jsonrpc/node";
import type { ListedSession, ProviderInfo } from "../protocol";
import { Failure } from "../server/failure";
import type { Server } from "../server/server";

/**
 * Asks all agents for their sessions at once. `onAnswer` has what one of them answered as soon as it did, so that one
 * that does not answer holds up no other. Settles when all have answered or failed.
 */
export async function listSessions(server: Pick<Server, "request">, providers: readonly ProviderInfo[], cwd: string | undefined, token: CancellationToken, onAnswer: (provider: ProviderInfo, answer: ListedSession[] | Failure) => void): Promise<void> {
  const ask = async (provider: ProviderInfo) => {
    const answer = await server.request("session/list", { provider: provider.id, ...(cwd === undefined ? {} : { cwd }) }, token).then(({ sessions }) => sessions ?? [], Failure.from);
    if (!token.isCancellationRequested) onAnswer(provider, answer);
  };
  await Promise.all(providers.filter(({ available, capabilities }) => available && capabilities.resume).map(ask));
}
