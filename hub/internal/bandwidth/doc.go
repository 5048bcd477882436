// Package bandwidth says how fast frames may move between the hub and its sites: each site has a limit, and so have all of
// them together. A limit is a schedule of rates; a site that is paused, or whose rate is 0, is stopped.
//
// A frame needs a turn before it moves, and then takes permission for one piece after the other. Under a limit a site has
// few turns, so that a frame that has begun is soon through: then the waits of both ends hold at the lowest rate, and little
// is lost when a site is stopped. The pieces of a site go in the order in which they are asked for, and only one piece of a
// site at a time waits for the limit of all, so that sites share that one evenly. Both directions count together.
package bandwidth
