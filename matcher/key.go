package matcher

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"

	"calltally/conversion"
)

// KeyOf returns what makes two rows speak of the same conversion. call is nil
// for a web conversion, which is bound to its reference id instead.
func KeyOf(claim *conversion.Claim, call *conversion.Call, policy Policy) conversion.Key {
	rules := policy.Rules(claim.EventType)
	if call == nil {
		return keyOf(&claim.Details, 0, rules.KeySet(), policy)
	}
	return keyOf(&claim.Details, call.ID, rules.KeySet(), policy)
}

func keyOf(of *conversion.Details, call int64, by conversion.KeySet, policy Policy) conversion.Key {
	h := newDigest()
	h.text(policy.Account.ID)
	h.number(int64(by))
	for bit, part := range conversion.KeyParts {
		if by&(1<<bit) == 0 {
			continue
		}
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
		case conversion.KeyEventID:
			h.text(of.EventID)
		}
	}
	return conversion.Key(h.sum())
}

// Adds reports whether applying a row twice would add something: then it is
// remembered, and applied once for an account.
func Adds(claim *conversion.Claim, policy Policy) bool {
	rules := policy.Rules(claim.EventType)
	if rules.Repeats == conversion.RepeatsApply {
		return false
	}
	if claim.Names.Given() {
		return claim.Effect.Adds()
	}
	return !rules.Idempotent()
}

// Fingerprint returns the digest of all that a claim says; ordinal counts the
// identical rows before it in its file.
func Fingerprint(claim *conversion.Claim, account string, ordinal int) conversion.Fingerprint {
	h := newDigest()
	h.text(account)
	h.text(claim.CallIDs[:]...)
	for _, when := range []conversion.When{claim.Start, claim.Event} {
		for _, reading := range []conversion.Span{when.First, when.Second} {
			h.number(int64(reading.From), int64(reading.To))
		}
	}
	h.number(int64(claim.Caller), int64(claim.Called), int64(claim.Duration), flag(claim.HasDuration), flag(claim.Web))
	name, effect := &claim.Names, &claim.Effect
	h.text(name.Column, name.Reference, name.EventType, name.Campaign)
	h.number(name.ID, flag(name.ByCall))
	h.amount(claim.Sale, claim.Received, claim.Payout, claim.CallCost)
	h.text(string(claim.Status))
	for _, part := range claim.Parts() {
		h.text(*part.Value)
	}
	for _, set := range []bool{effect.AddSale, effect.AddReceived, effect.AddPayout, effect.CostOnly, effect.Link, effect.ReceivedOfSale, claim.EventNow, effect.KeepPayout, effect.Repay, effect.Reverse} {
		h.number(flag(set))
	}
	h.text(string(cmp.Or(effect.On, conversion.OnToday)), effect.Note)
	h.number(int64(len(effect.Items)))
	for _, item := range effect.Items {
		h.text(item.SKU)
		h.amount(item.Amount)
		h.number(int64(item.Quantity))
	}
	h.number(int64(effect.Custom), int64(ordinal))
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

func newDigest() *digest { return &digest{make([]byte, 0, 512)} }

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

func (d *digest) amount(amounts ...conversion.Amount) {
	for _, a := range amounts {
		d.number(a.Minor, flag(a.Given))
		d.text(string(a.Currency))
	}
}

func (d *digest) sum() [16]byte {
	full := sha256.Sum256(d.bytes)
	return [16]byte(full[:16])
}
