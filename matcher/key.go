package matcher

import (
	"crypto/sha256"
	"encoding/binary"

	"calltally/conversion"
)

// KeyOf returns what makes two rows speak of the same conversion. call is nil
// for a web conversion, which is bound to its reference id instead.
func KeyOf(claim *conversion.Claim, call *conversion.Call, policy Policy) conversion.Key {
	said := conversion.Details{
		ReferenceID: claim.ReferenceID, EventType: claim.EventType, ReasonCode: claim.ReasonCode, SKUs: claim.SKUs,
		Campaign: claim.Campaign, Publisher: claim.Publisher,
	}
	if call == nil {
		return keyOf(said, 0, policy)
	}
	return keyOf(said, call.ID, policy)
}

func keyOf(of conversion.Details, call int64, policy Policy) conversion.Key {
	rules, _ := policy.Account.RulesFor(of.EventType)
	h := newDigest()
	h.text(policy.Account.ID)
	for _, part := range rules.Key {
		h.text(string(part))
		switch part {
		case conversion.KeyCall:
			if call != 0 {
				h.number(call)
			} else {
				h.text(of.Campaign, of.Publisher, of.ReferenceID)
			}
		case conversion.KeyEventType:
			h.text(of.EventType)
		case conversion.KeySKUs:
			h.text(of.SKUs)
		case conversion.KeyReasonCode:
			h.text(of.ReasonCode)
		case conversion.KeyReferenceID:
			h.text(of.ReferenceID)
		}
	}
	return conversion.Key(h.sum())
}

// Fingerprint returns the digest of all that a claim says; ordinal counts the
// identical rows before it in its file.
func Fingerprint(claim *conversion.Claim, account string, ordinal int) conversion.Fingerprint {
	h := newDigest()
	h.text(account)
	for _, reading := range []conversion.Span{claim.Start.First, claim.Start.Second} {
		h.number(int64(reading.From), int64(reading.To))
	}
	h.number(int64(claim.Caller), int64(claim.Called), int64(claim.Duration), flag(claim.HasDuration), flag(claim.Web))
	h.text(claim.ReferenceID, claim.ParentReferenceID, claim.EventType, claim.ReasonCode, claim.SKUs, claim.Quantities)
	h.number(claim.Sale.Minor, flag(claim.Sale.Given))
	h.text(string(claim.Sale.Currency), claim.Campaign, claim.Publisher, claim.Customer)
	h.number(int64(ordinal))
	return conversion.Fingerprint(h.sum())
}

func flag(set bool) int64 {
	if set {
		return 1
	}
	return 0
}

// digest makes 128-bit digests of texts and numbers. Each text is preceded by
// its length, so that no two lists of texts run together to the same bytes.
type digest struct{ bytes []byte }

func newDigest() *digest { return &digest{make([]byte, 0, 192)} }

func (d *digest) text(texts ...string) {
	for _, text := range texts {
		d.bytes = binary.AppendUvarint(d.bytes, uint64(len(text)))
		d.bytes = append(d.bytes, text...)
	}
}

func (d *digest) number(numbers ...int64) {
	for _, n := range numbers {
		d.bytes = binary.LittleEndian.AppendUint64(d.bytes, uint64(n))
	}
}

func (d *digest) sum() [16]byte {
	full := sha256.Sum256(d.bytes)
	return [16]byte(full[:16])
}
