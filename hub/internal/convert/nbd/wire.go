package nbd

// Handshake.
const (
	magicServer = 0x4e42444d41474943 // NBDMAGIC
	magicOption = 0x49484156454f5054 // IHAVEOPT
	magicReply  = 0x3e889045565a9

	fixedNewstyle = 1 << 0
	noZeroes      = 1 << 1
)

// Options and replies to them.
const (
	optExportName = 1
	optAbort      = 2
	optInfo       = 6
	optGo         = 7

	repAck        = 1
	repInfo       = 3
	repErrUnsup   = 1<<31 + 1
	repErrInvalid = 1<<31 + 3
	repErrUnknown = 1<<31 + 6

	infoExport    = 0
	infoBlockSize = 3
)

// Transmission.
const (
	magicRequest     = 0x25609513
	magicSimpleReply = 0x67446698

	flagHasFlags        = 1 << 0
	flagReadOnly        = 1 << 1
	flagSendWriteZeroes = 1 << 6

	cmdRead        = 0
	cmdWrite       = 1
	cmdDisc        = 2
	cmdWriteZeroes = 6

	cmdFlagNoHole = 1 << 1

	errnoIO          = 5
	requestHeader    = 28
	replyHeader      = 16
	exportNameZeroes = 124
)

const (
	// MaxRequest is the most bytes that a client may read or write with one request.
	MaxRequest = 4 << 20
	// preferred is the length of requests that clients are told is best: that of the chunks of images.
	preferred = MaxRequest
	// maxOption is the most bytes that the data of an option may have, and maxOptions how many there may be.
	maxOption  = 8 << 10
	maxOptions = 32
)
