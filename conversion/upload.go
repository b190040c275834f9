package conversion

// UploadState is how far an upload has come. See ARCHITECTURE.md for the
// drawing.
type UploadState string

// The states of an upload.
const (
	Received UploadState = "received"
	Deciding UploadState = "deciding"
	Decided  UploadState = "decided"
	Refused  UploadState = "refused"
	// OnHold waits for somebody's decision, and goes on where it had come to.
	OnHold UploadState = "held"
)

// Ended reports whether all is decided that will be.
func (s UploadState) Ended() bool { return s == Decided || s == Refused }

// AtRest reports whether nothing more becomes of it by itself.
func (s UploadState) AtRest() bool { return s.Ended() || s == OnHold }

// Upload is a delivery that we own: its bytes are stored and it has an
// identity.
type Upload struct {
	ID      int64
	Account string // the account's id; "" if none could be told
	Source  string
	// Origin is where the source had it; with Digest it is the identity.
	Origin string
	Name   string // the file's name as sent; shown, never used as a path
	// Stem is what its report's files are named by, in lower case.
	Stem   string
	Digest [32]byte
	Size   int64
	Takes  Takes
	// Dialect is the source's setting; "" means the account's.
	Dialect    string
	ReceivedAt Millis
	DecidedAt  Millis
	State      UploadState
	Refusal    *Refusal
	Hold       *Hold  // why it is held; nil if it isn't
	Approved   []Code // for what it was held and let go on
	// Attempts counts how often deciding it was begun since rows were decided last; it is
	// not begun again before NextTry. LastError is what the last one failed with.
	Attempts  int
	NextTry   Millis
	LastError string
	// EmptiedAt is when its file was removed, because it need not be kept any longer; 0 if it
	// is there.
	EmptiedAt Millis
	// Reading is how the file was read; zero until it was.
	Reading Reading
	Tally   Tally
	// Diagnosis is what the whole file has in common, in one sentence.
	Diagnosis string
	// Cursor is the last line decided; what follows it is still to do.
	Cursor int
	Mail   MailOrigin
	// Bundle names, for its source, what the upload came in together with others, such as a
	// mail with several files; "" for alone. Closes says that it is the last of them.
	Bundle string
	Closes bool
	// SameAs is the first upload of the same bytes; 0 for none. Again has rows
	// decided that another upload of these bytes has applied.
	SameAs int64
	Again  bool
	// DryRun says that the upload was decided and changed nothing.
	DryRun bool
	// Undoes and Replays are the upload whose bytes this one shares: it takes back
	// what that one did, or decides its rows again; 0 for neither.
	Undoes, Replays int64
}

// Takes is what a source's files hold.
type Takes string

// What files hold.
const (
	TakesConversions Takes = "conversions"
	TakesCalls       Takes = "calls"
)

// MailOrigin is what a reply needs to know of the mail that carried a file.
type MailOrigin struct {
	// ReplyTo is the sender's address; "" if it must not be answered.
	ReplyTo    string   `json:",omitempty"`
	From       string   `json:",omitempty"` // the sender that the mail names, whoever wrote it
	Subject    string   `json:",omitempty"`
	MessageID  string   `json:",omitempty"`
	References []string `json:",omitempty"`
	// Unread are the names of attachments beside the file that were not read.
	Unread []string `json:",omitempty"`
}

// ReportDue is a report that is to be sent.
type ReportDue struct {
	Upload   int64
	Revision int // 1 for the first report of an upload; more for follow-ups
	Attempts int // how often sending it failed
	// MadeAt is when there was something to tell.
	MadeAt Millis
}

// Posting is what became of a report for one recipient.
type Posting struct {
	Upload    int64
	Revision  int
	Recipient string
	// Refusal is what the relay said against the recipient; "" if it took the report.
	Refusal string
	Letter  string // the Message-ID of the letter, which may tell several reports
	At      Millis
}

// Workbook is the encoding of a file that was a workbook.
const Workbook = "xlsx"

// Reading is how a file was read, reported back to its sender.
type Reading struct {
	Dialect string
	// Why says by what the dialect was recognised; "" if it was set.
	Why       string
	Delimiter string
	Encoding  string
	Zone      string
	DateOrder DateOrder
	Rows      int
	// Notes are sentences about the whole file that are worth telling.
	Notes []string
}
