"""The demo's labels in other languages."""

from __future__ import annotations

_KEYS = [
    "title", "notice", "photo", "photos", "example", "light", "color", "seed", "dice", "more", "hint", "fallback",
    "threshold", "margin", "truncation", "result", "download", "faces", "keep", "replace", "renew", "variants", "kept",
    "stages", "batch", "anonymize", "archive",
]  # fmt: skip

_TEXTS = {
    "en": [
        "# Faces of nobody\nEvery face in your photo is replaced by a realistic face of somebody who does not exist. "
        "Expression, gaze, pose, light and skin colour stay.",
        "Photos are processed on this machine, deleted within an hour, and neither logged nor passed on. "
        "A face that is not found is not hidden: look at every result.",
        "Photo", "Photos", "Example", "Light of the original", "Skin colour of the original",
        "Seed: picks the new identities", "New identities", "More settings", "Tell the network a blurred skin colour",
        "Hide faces that cannot be replaced by", "Confidence from which something is a face",
        "Hidden rim round the face", "Variety of faces", "Before and after", "Download", "Faces", "Keep as it is",
        "Replace", "New identity", "Four variants", "What was kept", "Stages", "Several photos", "Anonymize",
        "Archive with report",
    ],
    "de": [
        "# Gesichter von niemandem\nJedes Gesicht im Foto wird durch ein echt wirkendes Gesicht eines Menschen "
        "ersetzt, den es nicht gibt. Ausdruck, Blick, Haltung, Licht und Hautfarbe bleiben.",
        "Fotos werden auf diesem Rechner verarbeitet, binnen einer Stunde gelöscht und weder protokolliert noch "
        "weitergegeben. Ein nicht gefundenes Gesicht ist nicht verborgen: Prüfen Sie jedes Ergebnis.",
        "Foto", "Fotos", "Beispiel", "Licht des Originals", "Hautfarbe des Originals",
        "Startwert: wählt die neuen Gesichter", "Neue Gesichter", "Weitere Einstellungen",
        "Dem Netz eine unscharfe Hautfarbe mitteilen", "Nicht ersetzbare Gesichter verbergen durch",
        "Ab welcher Sicherheit etwas ein Gesicht ist", "Verborgener Rand um das Gesicht", "Vielfalt der Gesichter",
        "Vorher und nachher", "Herunterladen", "Gesichter", "So lassen", "Ersetzen", "Neues Gesicht", "Vier Varianten",
        "Was erhalten blieb", "Schritte", "Mehrere Fotos", "Anonymisieren", "Archiv mit Bericht",
    ],
    "fr": [
        "# Visages de personne\nChaque visage de la photo est remplacé par celui, réaliste, d'une personne qui "
        "n'existe pas. Expression, regard, pose, lumière et couleur de peau restent.",
        "Les photos sont traitées sur cette machine, effacées dans l'heure, ni journalisées ni transmises. "
        "Un visage non trouvé n'est pas caché : vérifiez chaque résultat.",
        "Photo", "Photos", "Exemple", "Lumière de l'original", "Couleur de peau de l'original",
        "Graine : choisit les nouveaux visages", "Nouveaux visages", "Autres réglages",
        "Donner au réseau une couleur de peau floue", "Cacher les visages non remplaçables par",
        "Confiance à partir de laquelle c'est un visage", "Bord caché autour du visage", "Variété des visages",
        "Avant et après", "Télécharger", "Visages", "Laisser tel quel", "Remplacer", "Nouveau visage",
        "Quatre variantes", "Ce qui est conservé", "Étapes", "Plusieurs photos", "Anonymiser", "Archive avec rapport",
    ],
    "es": [
        "# Caras de nadie\nCada cara de la foto se sustituye por la cara realista de alguien que no existe. "
        "Expresión, mirada, postura, luz y color de piel permanecen.",
        "Las fotos se procesan en esta máquina, se borran en una hora y no se registran ni se comparten. "
        "Una cara no encontrada no queda oculta: revise cada resultado.",
        "Foto", "Fotos", "Ejemplo", "Luz del original", "Color de piel del original",
        "Semilla: elige las caras nuevas", "Caras nuevas", "Más ajustes", "Dar a la red un color de piel borroso",
        "Ocultar las caras no sustituibles con", "Confianza a partir de la cual es una cara",
        "Borde oculto alrededor de la cara", "Variedad de caras", "Antes y después", "Descargar", "Caras",
        "Dejar como está", "Sustituir", "Cara nueva", "Cuatro variantes", "Qué se conservó", "Pasos", "Varias fotos",
        "Anonimizar", "Archivo con informe",
    ],
    "it": [
        "# Volti di nessuno\nOgni volto della foto è sostituito dal volto realistico di qualcuno che non esiste. "
        "Espressione, sguardo, posa, luce e colore della pelle restano.",
        "Le foto sono elaborate su questa macchina, cancellate entro un'ora, né registrate né trasmesse. "
        "Un volto non trovato non è nascosto: controlli ogni risultato.",
        "Foto", "Foto", "Esempio", "Luce dell'originale", "Colore della pelle dell'originale",
        "Seme: sceglie i nuovi volti", "Nuovi volti", "Altre impostazioni",
        "Dare alla rete un colore della pelle sfocato", "Nascondere i volti non sostituibili con",
        "Sicurezza da cui è un volto", "Bordo nascosto attorno al volto", "Varietà dei volti", "Prima e dopo",
        "Scarica", "Volti", "Lascia com'è", "Sostituisci", "Nuovo volto", "Quattro varianti", "Che cosa è rimasto",
        "Passaggi", "Più foto", "Anonimizza", "Archivio con rapporto",
    ],
    "ja": [
        "# 誰でもない顔\n写真の顔をすべて、実在しない人のリアルな顔に置き換えます。"
        "表情、視線、向き、光、肌の色は保たれます。",
        "写真はこのマシンで処理され、1時間以内に削除されます。記録も提供もされません。"
        "検出されなかった顔は隠されません。結果を必ずご確認ください。",
        "写真", "写真", "例", "元の光", "元の肌の色", "シード：新しい顔を決めます", "新しい顔", "その他の設定",
        "ぼかした肌の色をネットワークに伝える", "置き換えられない顔の隠し方", "顔とみなす確信度", "顔の周りの隠す範囲",
        "顔の多様さ", "前と後", "ダウンロード", "顔", "そのまま残す", "置き換える", "別の顔", "4つの候補",
        "保たれたもの", "工程", "複数の写真", "匿名化する", "レポート付きアーカイブ",
    ],
}  # fmt: skip

TRANSLATIONS = {language: dict(zip(_KEYS, texts, strict=True)) for language, texts in _TEXTS.items()}
