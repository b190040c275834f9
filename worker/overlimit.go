package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/shopspring/decimal"

	"calltally/conversion"
	"calltally/ingest"
)

// overLimit says whether a file has amounts that its account's limits hold until somebody
// approves them. All rows are read for that before the first is decided.
func overLimit(ctx context.Context, upload *conversion.Upload, account *conversion.Account, table *ingest.Table) (hold *conversion.Hold, err error) {
	limits := account.HoldOver
	if limits == (conversion.AmountLimits{}) || upload.Cursor > 0 || slices.Contains(upload.Approved, conversion.AmountsOverLimit) {
		return nil, nil
	}
	claims, err := table.Claims(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, claims.Close()) }()
	sums := sums{}
	labels := table.Labels()
	for {
		claim, rejection, err := claims.Next()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read upload %d: %w", upload.ID, err)
		}
		if rejection != nil {
			continue
		}
		for _, cell := range []struct {
			column string
			amount conversion.Amount
		}{{labels.Sale, claim.Sale}, {labels.Received, claim.Received}, {labels.Payout, claim.Payout}} {
			if why := sums.add(claim.Line, cell.column, cell.amount, limits); why != "" {
				return &conversion.Hold{Code: conversion.AmountsOverLimit,
					Sentence: why + " Nothing in the file was applied. It is applied once somebody has approved it; if the amount is wrong, have it discarded, and send a corrected file."}, nil
			}
		}
	}
}

// sums are what a file's amounts come to, by column and currency.
type sums map[columnIn]decimal.Decimal

type columnIn struct {
	column   string
	currency conversion.Currency
}

// add adds an amount, whatever its sign, and says what is over a limit; "" if nothing is.
func (s sums) add(line int, column string, amount conversion.Amount, limits conversion.AmountLimits) string {
	if !amount.Given {
		return ""
	}
	in := columnIn{column, amount.Currency}
	exact := decimal.New(amount.Minor, -amount.Currency.Digits())
	value, legible := exact.Abs(), amount.Currency.Legible
	s[in] = s[in].Add(value)
	switch {
	case limits.Row.IsPositive() && value.GreaterThan(limits.Row):
		return fmt.Sprintf("Line %d has a %s of %s, and an amount over %s must be approved.", line, column, legible(exact), legible(limits.Row))
	case limits.File.IsPositive() && s[in].GreaterThan(limits.File):
		return fmt.Sprintf("By line %d, the %s of the file's rows comes to %s, and more than %s in one file must be approved.", line, column, legible(s[in]), legible(limits.File))
	}
	return ""
}
