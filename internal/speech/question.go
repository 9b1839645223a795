package speech

import (
	"context"
	"errors"
	"strings"
)

// A Question is the sound of a call that asks the person to press a key. Its parts
// are whole frames.
type Question struct {
	Ask    []byte // the request, and the keys for yes and no
	Thanks []byte // said after a key
}

// asker is the place of the requester's name in requests.
const asker = "{name}"

// requests name the requester. An engine speaks them, so Chinese is in characters here, unlike in the
// prompts. Japanese is in kana, which every engine can read.
var requests = map[string]string{
	"ar": "لديك طلب تحقق من طرف {name}",
	"cs": "Máte žádost o ověření od {name}",
	"da": "Du har en anmodning om bekræftelse fra {name}",
	"de": "Sie haben eine Bestätigungsanfrage von {name}",
	"el": "Έχετε ένα αίτημα επαλήθευσης από {name}",
	"en": "You have a verification request from {name}",
	"es": "Tiene una solicitud de verificación de {name}",
	"fi": "Sinulla on vahvistuspyyntö. Lähettäjä: {name}",
	"fr": "Vous avez une demande de vérification de la part de {name}",
	"hi": "{name} की ओर से आपके लिए एक सत्यापन अनुरोध है",
	"hu": "Önnek egy ellenőrzési kérelme érkezett. Feladó: {name}",
	"id": "Anda menerima permintaan verifikasi dari {name}",
	"it": "Ha ricevuto una richiesta di verifica da {name}",
	"ja": "{name}からにんしょうリクエストがとどいています",
	"ko": "{name}에서 인증 요청이 도착했습니다",
	"nb": "Du har en forespørsel om bekreftelse fra {name}",
	"nl": "U hebt een verificatieverzoek van {name}",
	"pl": "Masz prośbę o weryfikację od {name}",
	"pt": "Você tem uma solicitação de verificação de {name}",
	"ro": "Aveți o cerere de verificare de la {name}",
	"ru": "Вы получили запрос на подтверждение от {name}",
	"sv": "Du har en begäran om verifiering från {name}",
	"tr": "{name} tarafından gönderilen bir doğrulama isteğiniz var",
	"uk": "Ви отримали запит на підтвердження від {name}",
	"vi": "Bạn có một yêu cầu xác minh từ {name}",
	"zh": "您有一个来自{name}的验证请求",
}

// requestIn returns the request of a locale, or of its language.
func requestIn(locale string) string {
	language, _, _ := strings.Cut(locale, "-")
	return requests[language]
}

// maxRequest bounds the time to name the requester, so that the person still listens when the keys are
// named.
const maxRequest = 8 * Rate

// Question returns the sound of a call that asks for a key. The call names the requester if an
// engine is configured that can speak the name.
func (s *Speaker) Question(ctx context.Context, locale, from string) Question {
	name, v := s.voice(locale)
	who := v[asked]
	if from != "" {
		spoken, err := s.speak(ctx, name, []string{strings.Replace(requestIn(name), asker, from, 1)})
		if err == nil && len(spoken[0]) > maxRequest {
			err = errors.New("the name of the requester takes too long to say")
		}
		if err == nil {
			who = spoken[0]
		} else {
			s.silent(err)
		}
	}
	ask := pause(append(pause(nil, lead), who...), aroundCode)
	ask = pause(append(ask, v[approve]...), aroundCode)
	return Question{Ask: whole(append(ask, v[reject]...)), Thanks: whole(v[thanks])}
}
