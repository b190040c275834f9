package conversion

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
)

// Key says when two rows speak of the same conversion: the call, if it is one of the
// parts that the account's settings name, and a digest of the account and the others.
// The zero Key is none.
type Key struct {
	Call int64 // our id; 0 if the call is no part of it
	Rest [16]byte
}

// Compare orders keys by their calls first.
func (k Key) Compare(other Key) int {
	return cmp.Or(cmp.Compare(k.Call, other.Call), bytes.Compare(k.Rest[:], other.Rest[:]))
}

// Key is what conversions of an account that have these details, and belong to a
// call (our id; 0 for none), are told apart by.
func (of *Details) Key(account string, call int64, by KeySet) Key {
	var key Key
	h := newDigest()
	h.text(account)
	if of.Parent != "" { // one that was added to another is told from it, and by its own id
		h.text("child", of.ParentReference, of.ReferenceID)
	}
	h.number(int64(by))
	for bit, part := range KeyParts {
		if by&(1<<bit) == 0 {
			continue
		}
		switch part {
		case KeyCall:
			if key.Call = call; call == 0 {
				h.text(of.Campaign, of.Publisher, of.ReferenceID)
			}
		case KeyEventType:
			h.text(of.EventType)
		case KeySKUs:
			h.text(of.SKUs)
		case KeyReasonCode:
			h.text(of.ReasonCode)
		case KeyReferenceID:
			h.text(of.ReferenceID)
		case KeyEventID:
			h.text(of.EventID)
		}
	}
	key.Rest = h.sum()
	return key
}

// Home is the key that a conversion belongs under. One whose creation was undone
// has a key that no row has.
func (c *Conversion) Home(account string) Key {
	if c.Status == StatusUndone {
		h := newDigest()
		h.text("undone")
		h.number(c.ID)
		return Key{Rest: h.sum()}
	}
	return c.Details.Key(account, c.Call, c.KeyedBy)
}

// Fingerprint is a digest of all that a row says, with its ordinal among the
// identical rows of its file.
type Fingerprint [16]byte

// Fingerprint returns the digest of all that a claim says; ordinal counts the
// identical rows before it in its file.
func (claim *Claim) Fingerprint(account string, ordinal int) Fingerprint {
	h := newDigest()
	h.text(account)
	h.text(claim.CallIDs[:]...)
	for _, when := range []When{claim.Start, claim.Event} {
		for _, reading := range []Span{when.First, when.Second} {
			h.number(int64(reading.From), int64(reading.To))
		}
	}
	h.number(int64(claim.Caller), int64(claim.Called), int64(claim.Duration), flag(claim.HasDuration), flag(claim.Web))
	name, effect := &claim.Names, &claim.Effect
	h.text(name.Column, name.Reference, name.EventType, name.Campaign)
	h.number(name.ID, flag(name.ByCall), flag(name.Newest))
	h.amount(claim.Sale, claim.Received, claim.Payout, claim.CallCost)
	h.text(string(claim.Status))
	for _, part := range claim.Parts() {
		h.text(*part.Value)
	}
	for _, set := range []bool{effect.AddSale, effect.AddReceived, effect.AddPayout, effect.CostOnly, effect.Link, effect.ReceivedOfSale, claim.EventNow, effect.KeepPayout, effect.Repay, effect.Reverse} {
		h.number(flag(set))
	}
	h.text(string(cmp.Or(effect.On, OnToday)), effect.Note)
	h.number(int64(len(effect.Items)))
	for _, item := range effect.Items {
		h.text(item.SKU)
		h.amount(item.Amount)
		h.number(int64(item.Quantity))
	}
	h.number(int64(effect.Custom), int64(ordinal))
	return Fingerprint(h.sum())
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

func newDigest() digest { return digest{make([]byte, 0, 512)} }

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

func (d *digest) amount(amounts ...Amount) {
	for _, a := range amounts {
		d.number(a.Minor, flag(a.Given))
		d.text(string(a.Currency))
	}
}

func (d *digest) sum() [16]byte {
	full := sha256.Sum256(d.bytes)
	return [16]byte(full[:16])
}
