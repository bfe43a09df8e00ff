"""The words that every department of the demo catalogue shares: families, colours, phrases, franchises.

Knows words only; nothing is drawn at random here. A *family* is a group of departments that a person would confuse:
its nouns, brands and adjectives are said of products of any of its members, so that such a title does not decide.

Words are written as blocks: a line '== name', then 'key: a; b; c' (a line that goes on begins with two blanks). A
department's nouns are 'name=shape'. In sizes and details, the keys of `rayon.data.synthetic_titles._NUMBERS` are filled
with a number.
"""

from __future__ import annotations

from typing import NamedTuple

Colour = tuple[int, int, int]
"""Red, green, blue in 0..255."""


class Noun(NamedTuple):
    """What a product is called and the shape its photo shows (a key of `rayon.data.synthetic_shapes.SHAPES`)."""

    name: str
    shape: str


class Department(NamedTuple):
    """One department: its name, the families it can be mistaken within, and its own words.

    `fresh` holds product names that appear only in drifted traffic.
    """

    name: str
    families: tuple[str, ...]
    brands: tuple[str, ...]
    nouns: tuple[Noun, ...]
    english: tuple[Noun, ...]
    details: tuple[str, ...]
    sizes: tuple[str, ...]
    fresh: tuple[str, ...]


class Family(NamedTuple):
    """Words and photo shapes that the departments of a family have in common."""

    brands: tuple[str, ...]
    nouns: tuple[str, ...]
    words: tuple[str, ...]
    sizes: tuple[str, ...]
    shapes: tuple[str, ...]


def words(text: str) -> tuple[str, ...]:
    """Split 'a; b; c' into its parts."""
    return tuple(word.strip() for word in text.replace("\n", " ").split(";"))


def read_departments(text: str) -> tuple[Department, ...]:
    """Read departments from '== name' lines, each followed by its 'key: a; b; c' (indented where it goes on)."""
    return tuple(
        Department(
            name,
            words(entry["families"]),
            words(entry["brands"]),
            _nouns(entry["nouns"]),
            _nouns(entry["english"]),
            words(entry["details"]),
            words(entry["sizes"]),
            words(entry["fresh"]),
        )
        for name, entry in _entries(text)
    )


def _nouns(text: str) -> tuple[Noun, ...]:
    return tuple(Noun(*word.split("=")) for word in words(text))


def _entries(text: str) -> list[tuple[str, dict[str, str]]]:
    entries = []
    for part in text.split("\n== ")[1:]:
        name, _, body = part.partition("\n")
        lines = body.strip().replace("\n  ", " ").split("\n")
        entries.append((name, dict(line.split(": ", 1) for line in lines)))
    return entries


_FAMILIES = """
== maison
brands: vidaXL; Songmics; Homcom; La Redoute Intérieurs; Today; Maisons du Monde; Festnight; The Home Deco Factory;
  Amadeus
nouns: Housse; Panier; Collection Oslo; Modèle Stockholm; Ensemble assorti; Rangement; Set; Création artisanale;
  Article maison; Décor; Pièce unique; Série Riviera; Nouveauté salon; Kit chambre
words: scandinave; style industriel; velours; coton et lin; bohème; motif géométrique; vintage; salon et chambre;
  baroque; design moderne; toucher doux; finition mate; naturel; esprit campagne; chic; rayures
sizes: {cm}x{cm} cm; {cm} cm; 40x60 cm; grand modèle; petit modèle
shapes: carton; swatch; bag
== dehors
brands: Outsunny; Campingaz; Einhell; Ribimex; Habitat et Jardin; Greencut; vidaXL; Provence Outillage; Cap Vert
nouns: Kit de rechange; Housse de protection; Accessoire extérieur; Bâche; Raccord; Support; Set jardin; Filet;
  Pièce détachée; Coffret; Embout; Système complet; Modèle saison; Matériel
words: extérieur; résistant UV; étanche; galvanisé; robuste; spécial été; terrasse; renforcé; anti-rouille;
  qualité pro; imperméable; toutes saisons; vert; facile à monter
sizes: {cm}x{cm} cm; {m} m; {l} L; {kg} kg; Ø {cm} cm
shapes: carton; tarp; hose; bucket
== enfants
brands: Disney; Pat'Patrouille; Peppa Pig; Hello Kitty; La Reine des Neiges; Lilliputiens; Moulin Roty; Minions;
  Petit Ours Brun
nouns: Coffret cadeau; Ensemble; Mon premier set; Set enfant; Univers; Kit; Cadeau; Accessoire; Collection;
  Le petit monde; Mallette; Edition anniversaire; Personnage
words: fille; garçon; coloré; cadeau de Noël; animaux; pirate; princesse; arc-en-ciel; tout doux; rigolo; éducatif;
  mixte; licorne; à partager; super-héros; forêt
sizes: {age} ans; {cm} cm; {n} pièces; lot de {vol}
shapes: giftbox; blister; bag
== collection
brands: Pokémon; Star Wars; Naruto; One Piece; Dragon Ball Z; Marvel; Harry Potter; Yu-Gi-Oh; My Hero Academia; Zelda;
  Batman
nouns: Edition collector; Coffret; Série limitée; Objet de collection; Pack; Collection; Produit dérivé;
  Edition spéciale; Set; Tirage limité; Goodies; Rare
words: neuf; sous blister; édition limitée; import Japon; officiel; rare; vintage; très bon état; introuvable; Sangoku;
  Pikachu; Luffy; Dark Vador; Spider-Man; n° de série; lot
sizes: vol. {vol}; série {vol}; n°{n}; {cm} cm; x{vol}
shapes: blister; giftbox; card
== papier
brands: Éditions Atlas; Hachette Collections; Fleurus; Usborne; Larousse; Lito; Fnac; Édition du Chêne; Auzou
nouns: Volume; Coffret; Lot; Édition; Recueil; Cahier d'activités; Numéro; Collection complète; Album; Série;
  Fascicule; Calendrier; Bloc
words: ancien; couverture rigide; très bon état; occasion; illustré; collector; grand format; scolaire; souple;
  reliure; français; couleur; années 80; complet; enfant; original
sizes: {h} pages; A4; n°{n}; vol. {vol}; 21x29,7 cm; {vol} volumes
shapes: cover; cover; envelope; papers
== ecran
brands: Nintendo; Sony; Microsoft; Trust; Under Control; Steelplay; Ardistel; PDP; 2K
nouns: Pack; Bundle; Kit; Edition; Accessoire officiel; Version; Coffret; Edition Gold; Lot; Extension;
  Pack découverte; Collection
words: officiel; Switch; PS4; Xbox; sans fil; édition limitée; reconditionné; noir mat; rétro; neuf; très bon état;
  gaming; USB; compatible; PAL; HD
sizes: {h} Go; PS4; Xbox One; Nintendo Switch; V{vol}; {m} m
shapes: giftbox; gamecase; carton
== bouche
brands: Carrefour; Bio Village; Nature & Cie; Bjorg; Jardin Bio; Casa Nova; Maître Jacques; Vitakraft
nouns: Assortiment; Lot; Coffret dégustation; Sachet; Sélection; Format familial; Recette maison; Pack découverte;
  Boîte; Mélange; Seau
words: au poulet; saveur nature; bio; sans sucre; au saumon; croustillant; premium; traditionnel; format économique;
  goût bœuf; légumes; qualité supérieure; aux herbes; artisanal
sizes: {kg} kg; {h} g; x{vol}; {l} L; lot de {vol}
shapes: sack; carton; tin
== musique
brands: Thomann
nouns: Pack débutant; Accessoire
words: noir; bois; pro; scène
sizes: {n} cm
shapes: carton; bag
== mecanique
brands: Norauto
nouns: Kit; Accessoire
words: universel; origine; pro; avant
sizes: {h} mm
shapes: carton; tin
== beaute
brands: Sephora
nouns: Coffret; Soin
words: femme; homme; bio; parfumé
sizes: {h} ml
shapes: giftbox; bottle
"""

FAMILIES: dict[str, Family] = {
    name: Family(*(words(entry[key]) for key in Family._fields)) for name, entry in _entries(_FAMILIES)
}

COLOURS: dict[str, Colour] = {
    "Blanc": (242, 241, 238),
    "Noir": (38, 38, 42),
    "Gris": (140, 143, 148),
    "Gris Anthracite": (70, 74, 80),
    "Bleu": (48, 98, 178),
    "Bleu Canard": (22, 104, 116),
    "Bleu Marine": (30, 44, 88),
    "Bleu Ciel": (140, 190, 226),
    "Turquoise": (58, 178, 182),
    "Vert": (62, 140, 78),
    "Vert Sapin": (32, 78, 60),
    "Vert Menthe": (160, 212, 184),
    "Kaki": (112, 112, 72),
    "Jaune": (240, 200, 50),
    "Jaune Moutarde": (204, 154, 44),
    "Orange": (232, 124, 44),
    "Terracotta": (190, 96, 68),
    "Rouge": (196, 44, 48),
    "Bordeaux": (118, 30, 48),
    "Corail": (242, 124, 104),
    "Rose": (236, 132, 172),
    "Rose Poudré": (226, 186, 184),
    "Violet": (118, 74, 150),
    "Prune": (92, 44, 84),
    "Marron": (112, 72, 48),
    "Taupe": (150, 134, 120),
    "Beige": (220, 202, 174),
    "Crème": (240, 230, 208),
    "Lin": (206, 194, 170),
    "Bois naturel": (190, 146, 98),
    "Doré": (206, 168, 86),
    "Argenté": (190, 194, 202),
}

ENGLISH_COLOURS: dict[str, str] = {
    "Blanc": "White",
    "Noir": "Black",
    "Gris": "Grey",
    "Bleu": "Blue",
    "Vert": "Green",
    "Jaune": "Yellow",
    "Orange": "Orange",
    "Rouge": "Red",
    "Rose": "Pink",
    "Violet": "Purple",
    "Marron": "Brown",
    "Beige": "Beige",
    "Doré": "Gold",
    "Argenté": "Silver",
}

SERIES = words("""
Oslo; Malmö; Camille; Zoé; Hugo; Venise; Riviera; Atlas; Nova; Luna; Orion; Iris; Jade; Milo; Lisbonne; Kyoto; Havane;
Siena; Capri; Malaga; Tokyo; Manhattan; Brooklyn; Chelsea; Bergen; Lund; Vega; Altaïr; Cassis; Biarritz; Deauville;
Honfleur; Cancale; Ouessant; Corfou; Santorin; Delphes; Athéna; Zeus; Titan; Apollo; Pégase; Phénix; Dragon; Panthère;
Koala; Panda; Renard; Hibou; Tukan; Flamant; Ananas; Cactus; Monstera; Jungle; Savane; Sahara; Bali; Java; Sumatra;
Kenya; Tanger; Riad; Medina; Alma; Clara; Léonie; Margot; Suzie; Arthur; Gaspard; Oscar; Basile; Félix; Jules; Simone;
Odette; Marcel; Gustave; Prestige; Elegance; Optima; Confort; Essentiel; Classic; Evolution; Fusion; Impact; Turbo;
Maxi; Ultra; Neo; Primo; Vintage 70; Galaxie; Comète; Saturne; Neptune; Mercure; Éclipse; Aurore; Boréal; Mistral;
Sirocco; Zéphyr; Alizé; Cyclone; Tornado
""")
"""Names of ranges and models, said of anything."""

FRESH_BRANDS = words("Zylora; Kivéo; Nordhaven; Oxelia; Brumatec; Lumizen; Pandoka; Ekorino; Vasterly; Quintoro")
"""Brands that appear only in drifted traffic."""

GENERIC_SENTENCES = words("""
Livraison rapide et soignée; Expédition sous 48 h depuis la France; Produit neuf dans son emballage d'origine;
Satisfait ou remboursé pendant 14 jours; Photo non contractuelle;
Les couleurs peuvent varier légèrement selon l'écran; Envoi en lettre suivie ou colissimo;
Très bon rapport qualité prix; Idéal pour offrir ou se faire plaisir; N'hésitez pas à consulter mes autres annonces;
Frais de port réduits en cas d'achats groupés; Garantie 2 ans; Facile à utiliser et à nettoyer;
Dimensions données à titre indicatif; Dernières pièces disponibles; Matériaux de qualité choisis avec soin;
Contactez-nous pour toute question; Etat : très bon, voir photos; Conforme aux normes européennes;
Veuillez tolérer une erreur de 1 à 3 cm due à la mesure manuelle; Caractéristiques; Contenu du colis : 1 pièce;
Marque et modèle indiqués dans le titre; 100% neuf et de haute qualité
""")

ENGLISH_SENTENCES = words("""
High quality and brand new; Please allow 1-3 cm error due to manual measurement; Package included: 1 piece;
Perfect gift for your family and friends; Fast shipping from our warehouse; Easy to use and to clean; Features;
Due to different monitors the color may vary slightly; Made of durable material; Satisfaction guaranteed
""")
