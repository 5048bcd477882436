// Package rpc makes gRPC servers and clients that agree on keepalive, limits, request ids and errors.
//
// Errors cross the wire as statuses with details (ErrorInfo of domain "atoll", BadRequest, RequestInfo) and come out of
// calls as fault errors again: code on either side handles classes and reasons and never sees a status. Nothing else in
// Atoll uses gRPC's status and codes.
package rpc

import "time"

// MaxMessage is the longest message either side accepts, in bytes.
const MaxMessage = 4 << 20

// Keepalive: the server must allow what the client does, or it ends the connection for too many pings.
const (
	clientPing     = 30 * time.Second
	clientPingWait = 10 * time.Second
	serverPingGap  = 15 * time.Second
	serverPing     = 30 * time.Second
	serverPingWait = 10 * time.Second
)
