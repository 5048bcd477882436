// Package edge serves the Image API for one site, so that compute nodes there boot while the hub cannot be reached.
//
// What only reads is answered from what the site has: the metadata that comes with the goals of the hub, kept in a file,
// and the data of published copies, read from the site's own pools. Everything else is passed to the hub's Image API.
//
// # Who answers what
//
//   - Discovery, schemas and the health check: the site.
//   - An image with a published copy here (its record, members, locations, data): the site. `stores` and `locations` then
//     name the site's stores only. Asked with Cache-Control: no-cache, and for a few seconds after a change of the image
//     went through this site, the hub answers if it can be reached.
//   - An image that the site is still filling, lists, and the list of stores: the hub, if it answers soon; else the site with
//     what it knows, which for an image being filled is how far its own stores are.
//   - All else, unknown images among it: the hub; 503 with Retry-After while it cannot be reached. What the site does not
//     know may exist, so 404 would be wrong.
//
// Who reads an image that is still on its way here is taken for an instance that waits to start: the hub is told, and lets
// the copy go first.
//
// Answers from the site carry X-Atoll-Site. While there is no session with the hub they carry Warning: 110 too; a list that
// may lack images carries X-Atoll-Partial: true.
package edge
