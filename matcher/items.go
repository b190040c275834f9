package matcher

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"calltally/conversion"
)

// changeItems changes single items of what was sold, and the sale with them. It
// returns a sentence for the sender if an item is not there to be changed.
func changeItems(c *conversion.Conversion, items []conversion.ItemChange) string {
	if c.ItemAmounts == "" {
		return fmt.Sprintf("What each item of conversion %d cost is not known, so it can't be changed item by item. Send the Amount of the whole order.", c.ID)
	}
	skus, amounts, quantities := split(c.SKUs), split(c.ItemAmounts), split(c.Quantities)
	for _, item := range items {
		at := slices.Index(skus, item.SKU)
		if at < 0 {
			return fmt.Sprintf("Conversion %d has no item %q; it has %s. Correct the SKU.", c.ID, item.SKU, strings.Join(skus, ", "))
		}
		if item.Amount.Given {
			amounts[at] = strconv.FormatInt(item.Amount.Minor, 10)
		}
		if item.Quantity > 0 && at < len(quantities) {
			quantities[at] = strconv.Itoa(item.Quantity)
		}
	}
	sum := conversion.Cents(0, c.Sale.Currency)
	for _, amount := range amounts {
		minor, err := strconv.ParseInt(amount, 10, 64)
		both, ok := sum.Plus(conversion.Cents(minor, c.Sale.Currency))
		switch sum = both; {
		case err != nil:
			return fmt.Sprintf("What each item of conversion %d cost is not known. Send the Amount of the whole order.", c.ID)
		case !ok:
			return fmt.Sprintf("The items of conversion %d would come to more than can be held. Correct what they cost.", c.ID)
		}
	}
	c.ItemAmounts, c.Quantities, c.Sale = strings.Join(amounts, ","), strings.Join(quantities, ","), sum
	return ""
}

// split takes a list apart; one of nothing has no entries.
func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}
