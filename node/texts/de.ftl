# Alle Texte der Seiten auf Deutsch. Die Schlüssel sind in jeder Sprache gleich; ein Test vergleicht sie.
language = Deutsch
product = Gästeregister

## Zeiten
month = { $number ->
    [1] Januar
    [2] Februar
    [3] März
    [4] April
    [5] Mai
    [6] Juni
    [7] Juli
    [8] August
    [9] September
    [10] Oktober
    [11] November
   *[12] Dezember
  }
day = { $day }. { $month } { $year }
clock = { $time } Uhr
today-at = heute, { $time } Uhr
day-at = { $day }, { $time } Uhr

## Regionen mit einem Namen für Menschen; andere zeigen ihre Kennung
region-eu-central = Frankfurt
region-us-east = Ashburn
region-ap-southeast = Singapur
region-sa-east = São Paulo
region-ap-northeast = Tokio

## Felder
field-name = Vor- und Nachname
field-phone = Telefon
field-email = E-Mail
field-street = Straße und Hausnummer
field-postal_code = Postleitzahl
field-city = Ort
field-country = Land (zwei Buchstaben)
field-area = Tisch oder Raum
area-choose = Bitte auswählen
optional = (freiwillig)
list-or = { $first } oder { $second }
list-with = { $first } mit { $second }
reach-hint = Eine dieser Angaben genügt: { $ways }.

## Einchecken
checkin-title = Einchecken: { $venue }
checkin-at = Sie checken ein bei
checkin-who = Nur das Gesundheitsamt darf diese Angaben abfragen, über den Betrieb und nur bei einer Ansteckung. Am <strong>{ $day }</strong> werden sie überall gelöscht.
checkin-notice = Was mit Ihren Angaben geschieht
checkin-add = Weitere Person
checkin-add-shared = Weitere Person aus demselben Haushalt
checkin-person = Person { $number }
checkin-household = Was hier leer bleibt, gilt wie bei der ersten Person.
checkin-send = Jetzt einchecken
checkin-foot = Ohne Konto, ohne Standort, ohne Cookies.
checkin-foot-offline = Geht auch ohne Netz: dann senden wir, sobald Sie wieder online sind.
checkin-remember = Meine Angaben auf diesem Gerät merken
checkin-refusing = Im Augenblick können hier keine Besuche gespeichert werden. Bitte füllen Sie das Formular aus und senden Sie es ab: mit JavaScript bleibt es auf Ihrem Gerät und wird später gesendet. Sonst bitten Sie das Personal um einen Papierzettel.
checkin-not-stored = Ihr Besuch wurde nicht gespeichert, weil der Dienst überlastet ist oder repariert wird. Ihre Eingaben sind noch da: bitte senden Sie sie in einer Minute noch einmal ab, oder bitten Sie das Personal um einen Papierzettel.

## Fehler eines Formulars
error-title = Fehler: { $title }
errors-heading = Es gibt ein Problem
error-required = Bitte ausfüllen: { $field }.
error-contact_required = Bitte geben Sie an, wie wir Sie erreichen: { $ways }.
error-too_long = { $field }: das ist zu lang.
error-control_character = { $field }: bitte entfernen Sie die unsichtbaren Steuerzeichen.
error-bidi_character = { $field }: bitte entfernen Sie die Zeichen, die die Schreibrichtung ändern.
error-phone = Bitte geben Sie eine Telefonnummer ein, etwa 0170 1234567.
error-email = Bitte geben Sie eine E-Mail-Adresse ein, etwa name@example.com.
error-postal_code = Bitte geben Sie eine Postleitzahl dieses Landes ein.
error-country = Bitte geben Sie das Land mit zwei Buchstaben ein, etwa DE.
error-unknown_area = Bitte wählen Sie einen Tisch oder Raum dieses Betriebs.
error-too_old = Dieses Formular wurde vor mehr als einem Tag geöffnet. Bitte checken Sie noch einmal ein.
error-too_early = Die Uhr Ihres Geräts geht vor. Bitte checken Sie noch einmal ein.
error-other = { $field }: bitte prüfen Sie Ihre Eingabe.

## Beleg
receipt-title = Beleg: { $venue }
receipt-title-plain = Beleg
receipt-show = Eingecheckt · bitte vorzeigen
receipt-left = Besuch beendet
receipt-repeat = Sie waren schon eingecheckt. Dies ist derselbe Besuch.
receipt-corrected = Ihre Änderungen sind gespeichert.
receipt-gone = Auf Wiedersehen! Als Ende ist { $time } gespeichert.
receipt-leave = Ich gehe jetzt
receipt-edit = Angaben ändern
receipt-save = Änderungen speichern
receipt-stored = Was gespeichert ist
receipt-arrived = Ankunft
receipt-departed = Ende
receipt-deleted-on = Wird am <strong>{ $when }</strong> überall gelöscht.
receipt-holds = Gespeichert in
receipt-yes = ja
receipt-not-yet = noch nicht
receipt-conflict = Zwei Angaben wurden zugleich gemacht: { $values }. Das Gesundheitsamt sieht beide; speichern Sie Ihre Angaben, um das zu klären.
receipt-erase = Jetzt überall löschen
receipt-erase-sure = Der Eintrag wird in allen Regionen sofort gelöscht und kommt nicht zurück. Der Betrieb kann dann nicht mehr sagen, dass Sie hier waren.
receipt-keep = Bewahren Sie die Adresse dieser Seite auf: nur wer sie hat, kann den Besuch ändern oder löschen.
receipt-keep-code = Ohne JavaScript notieren Sie stattdessen diesen Code: mit der Adresse dieser Seite öffnet er den Beleg.
receipt-erased-title = Gelöscht
receipt-erased = Ihr Besuch ist gelöscht und kommt nicht zurück.
receipt-erased-in = Bestätigt in
receipt-erased-again = Noch einmal prüfen
receipt-expired = Die Zeit, für die dieser Besuch aufbewahrt wurde, ist vorbei. Er wurde überall gelöscht.
receipt-unknown = Dieser Besuch ist hier noch nicht bekannt. Ein Besuch, der eben erst in einer anderen Region eingetragen wurde, braucht eine Sekunde: bitte versuchen Sie es noch einmal.
receipt-open = Beleg öffnen
receipt-code = Code Ihres Belegs
receipt-code-hint = Der Teil der Adresse des Belegs hinter dem Zeichen #.
receipt-code-wrong = Dieser Code gehört nicht zu diesem Beleg. Bitte prüfen Sie, ob die Adresse vollständig ist.
receipt-opening = Der Beleg wird geöffnet…
receipt-try = Noch einmal versuchen

## Farben des Belegs
colour-violet = VIOLETT
colour-blue = BLAU
colour-green = GRÜN
colour-red = ROT
colour-brown = BRAUN
colour-grey = GRAU
colour-pink = PINK
colour-black = SCHWARZ

## Später gesendet
outbox-title = Noch nicht gesendet
outbox-body = Ihr Besuch ist auf diesem Gerät gespeichert und wird gesendet, sobald es ein Netz gibt. Bitte zeigen Sie diese Seite dem Personal, und lassen Sie sie möglichst offen.
outbox-failed = Ein Besuch, der auf diesem Gerät wartete, konnte nicht gespeichert werden. Bitte checken Sie noch einmal ein.
outbox-show = Auf diesem Gerät eingecheckt · noch nicht gesendet

## Wenn etwas fehlt
missing-venue-title = Betrieb nicht gefunden
missing-venue = Diese Adresse zum Einchecken ist nicht bekannt. Bitte scannen Sie den Code an der Tür noch einmal, oder fragen Sie das Personal. Ein eben erst angemeldeter Betrieb braucht vielleicht eine Sekunde.
closed-title = Betrieb geschlossen
closed-venue = Dieser Betrieb nimmt keine Besuche mehr an.
trouble-title = Das hat nicht geklappt
trouble = Bitte versuchen Sie es in einer Minute noch einmal. Kommt es wieder vor, findet der Betreiber den Grund im Protokoll.
