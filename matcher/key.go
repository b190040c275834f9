package matcher

import "calltally/conversion"

// KeyOf returns what makes two rows speak of the same conversion. call is nil
// for a web conversion, which is bound to its reference id instead.
func KeyOf(claim *conversion.Claim, call *conversion.Call, policy Policy) conversion.Key {
	by := policy.Rules(claim.EventType).KeySet()
	if call == nil {
		return claim.Key(policy.Account.ID, 0, by)
	}
	return claim.Key(policy.Account.ID, call.ID, by)
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
