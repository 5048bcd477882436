// Package compact makes the shorter forms in which chunks go over slow links, once for all sites: compressed, or as what
// differs from a content that the site has already. It keeps them as frames on disk, as a cache with a limit of its own
// that begins empty: everything in it can be made again.
//
// Only readers that ask for a shorter form wait for it. A base that cannot be read, or one too many, is done without; a
// chunk that does not get shorter is not kept, and the caller sends it as it is.
package compact
