/** How many events the hubs of an interleaving keep: few, so that many are evicted. Here, where nothing needs fast-check. */
export const LIMIT = 8;
