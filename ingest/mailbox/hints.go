package mailbox

import (
	"bufio"
	"io"
	"regexp"
	"strings"
)

// hints are what a mail's text shows of why nothing is attached. Nothing is ever read from
// it: mail programs break lines, and a link may lead anywhere.
type hints struct {
	rows bool   // a table was pasted
	link string // the place of a file in the cloud
	// uuencoded says that a file stands in the text as programs wrote it before MIME.
	uuencoded bool
}

// cure ends the sentence that a mail has no attached file.
func (h hints) cure() string {
	switch {
	case h.uuencoded:
		return ", but one that is uuencoded in its text, which is not read. Attach it, with mailx by its option -a."
	case h.rows:
		return ", but rows in its text, which are not read: mail programs break lines. Save the rows as a CSV file and attach it."
	case h.link != "":
		return ", but a link to " + h.link + ", and links are never followed. Attach the file itself."
	}
	return ". Attach the CSV file; text in the mail itself and links are not read."
}

// maxText is how much of a mail's text is looked at, in bytes.
const maxText = 64 << 10

// look looks at a mail's text, as far as it can be read.
func (h *hints) look(body io.Reader) {
	lines := bufio.NewScanner(io.LimitReader(body, maxText))
	lines.Buffer(make([]byte, 4<<10), maxText+1)
	before := 0
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if at := cloud.FindStringSubmatch(line); at != nil && h.link == "" {
			h.link = strings.ToLower(at[1])
		}
		h.uuencoded = h.uuencoded || uuencoded.MatchString(line)
		cells := cellsOf(line)
		h.rows = h.rows || cells >= 3 && cells == before
		if line != "" {
			before = cells
		}
	}
}

// cellsOf is how many cells a line has if it is a row, by the delimiter that it has most of.
func cellsOf(line string) int {
	most := 0
	for _, delimiter := range []string{",", ";", "\t", "|"} {
		most = max(most, strings.Count(line, delimiter))
	}
	return most + 1
}

// uuencoded is the first line of a uuencoded file.
var uuencoded = regexp.MustCompile(`^begin [0-7]{3,4} \S`)

// cloud finds a link to where people keep files.
var cloud = regexp.MustCompile(`(?i)https://((?:[a-z0-9-]+\.)*(?:drive\.google\.com|docs\.google\.com|sharepoint\.com|1drv\.ms|onedrive\.live\.com|dropbox\.com|wetransfer\.com|we\.tl|box\.com|icloud\.com))(?:[/?]|$)`)
