package phone

import "testing"

func TestLanguage(t *testing.T) {
	t.Parallel()
	for number, want := range map[Number]string{
		"+12025550100":   "en",
		"+17875550123":   "es-419", // Puerto Rico, by its area code
		"+15095550123":   "en",
		"+4930901820":    "de",
		"+41446681800":   "de",
		"+390612345678":  "it",
		"+919876543210":  "hi",
		"+79161234567":   "ru",
		"+77011234567":   "ru", // Kazakhstan shares Russia's calling code
		"+5511987654321": "pt",
		"+34612345678":   "es",
		"+46701234567":   "sv",
		"+66812345678":   "", // Thai is none of them
		"+80012345678":   "",
		"":               "",
	} {
		if got := number.Language(); got != want {
			t.Errorf("%q.Language() = %q, want %q", string(number), got, want)
		}
	}
	for region := range languages {
		if !IsRegion(region) {
			t.Errorf("there is no region %q", region)
		}
	}
}
