/**
 * Storage in memory. The adapter that comes with oidc-provider forgets entries
 * when there are more than a thousand, live tokens included.
 */
export class Memory {
  #entries = new Map();

  async find(id) {
    return this.#entries.get(id);
  }

  async upsert(id, payload, expiresInS) {
    this.#entries.set(id, payload);
    const longestTimerMs = 2 ** 31 - 1;
    const keepMs = Math.min(expiresInS * 1000, longestTimerMs);
    setTimeout(() => this.#entries.delete(id), keepMs).unref();
  }

  async consume(id) {
    const payload = this.#entries.get(id);
    if (payload) payload.consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    this.#entries.delete(id);
  }

  /** Everything that was given under a grant. */
  async revokeByGrantId(grantId) {
    for (const [id, payload] of this.#entries) {
      if (payload.grantId === grantId) this.#entries.delete(id);
    }
  }
}
