package matcher

import (
	"cmp"

	"calltally/conversion"
)

// KeyOf returns what makes two rows speak of the same conversion. call is nil
// for a web conversion, which is bound to its reference id instead.
func KeyOf(claim *conversion.Claim, call *conversion.Call, policy Policy) conversion.Key {
	by := policy.Rules(claim).KeySet()
	if call == nil {
		return claim.Key(policy.Account.ID, 0, by)
	}
	return claim.Key(policy.Account.ID, call.ID, by)
}

// ChildKey returns what tells the conversion that a claim adds to another.
func ChildKey(claim *conversion.Claim, parent *conversion.Conversion, policy Policy) conversion.Key {
	child := childOf(claim, parent)
	return child.Key(policy.Account.ID, parent.Call, policy.Rules(claim).KeySet())
}

// childOf are the details of a conversion that a claim adds to another.
func childOf(claim *conversion.Claim, parent *conversion.Conversion) conversion.Details {
	child := claim.Details
	child.Parent, child.ParentReference = conversion.FormatID(parent.ID), claim.Names.Reference
	child.Campaign, child.Publisher = cmp.Or(child.Campaign, parent.Campaign), cmp.Or(child.Publisher, parent.Publisher)
	return child
}

// Adds reports whether applying a row twice would add something: then it is
// remembered, and applied once for an account.
func Adds(claim *conversion.Claim, policy Policy) bool {
	rules := policy.Rules(claim)
	if rules.Repeats == conversion.RepeatsApply {
		return false
	}
	if claim.Names.Given() && !claim.Effect.Link {
		return claim.Effect.Adds()
	}
	return anonymousChild(claim) || !rules.Idempotent()
}

// anonymousChild reports whether a claim adds to another a conversion that has no id
// of its own: nothing tells it from the next, so each such row makes one.
func anonymousChild(claim *conversion.Claim) bool {
	return claim.Effect.Link && claim.ReferenceID == ""
}
