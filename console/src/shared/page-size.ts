/** Rows of a list that are shown at once. */
export const PAGE_SIZE = 20
