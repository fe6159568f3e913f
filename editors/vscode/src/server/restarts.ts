// How often a server that ended by itself is started again: four times in three minutes, then a person is asked.

export const RESTARTS = 4;
export const WINDOW_MS = 3 * 60_000;

export class Restarts {
  private readonly times: number[] = [];

  constructor(private readonly now: () => number = Date.now) {}

  /** Whether one more restart is allowed now; if so, it is counted. */
  allow(): boolean {
    const now = this.now();
    while (this.times.length > 0 && now - this.times[0]! >= WINDOW_MS) this.times.shift();
    if (this.times.length >= RESTARTS) return false;
    this.times.push(now);
    return true;
  }

  /** A person started it: the count begins anew. */
  forget(): void {
    this.times.length = 0;
  }
}
