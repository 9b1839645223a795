package v1

import (
	"github.com/countersign/countersign/api"
	"github.com/countersign/countersign/internal/face"
	"github.com/countersign/countersign/internal/money"
	"github.com/countersign/countersign/internal/verify"
)

func (s *Server) readBudget(c face.Call, _ none) (api.Budget, error) {
	b, err := s.Service.Budget(c.Context(), c.Account)
	if err != nil {
		return api.Budget{}, err
	}
	answer := api.Budget{
		Day:   budgetPeriod(b.Day, b.DayMessages, b.DayAmount, b.Currency),
		Month: budgetPeriod(b.Month, b.MonthMessages, b.MonthAmount, b.Currency),
	}
	answer.Hour = api.BudgetHour{Messages: b.Hour.Messages}
	if b.HourMessages != verify.NoCap {
		answer.Hour.MaxMessages = &b.HourMessages
	}
	answer.Reached = []api.BudgetMark{}
	now := s.Service.Now()
	for _, m := range b.Reached(now) {
		answer.Reached = append(answer.Reached, api.BudgetMark{Cap: m.Cap, Percent: m.Step, At: m.At})
	}
	if b.Prepaid {
		answer.Balance = priced(b.Balance(), b.Currency)
	}
	return answer, nil
}

func budgetPeriod(spent verify.Spending, messages int, amount money.Amount, currency money.Currency) api.BudgetPeriod {
	p := api.BudgetPeriod{Messages: spent.Messages, Amount: priced(spent.Amount, currency)}
	if messages != verify.NoCap {
		p.MaxMessages = &messages
	}
	if amount != verify.NoCap {
		p.MaxAmount = priced(amount, currency)
	}
	return p
}
