"""The largest thirteen departments of the demo catalogue: what each one sells, in words and in shapes.

Knows words only, in the notation of `rayon.data.synthetic_vocabulary`. Departments that a person would confuse share
families, brands and shapes. The order matters: a catalogue of n categories takes the first n, and the first is the
largest. The other departments are in `rayon.data.synthetic_departments_more`.
"""

from __future__ import annotations

from rayon.data.synthetic_vocabulary import read_departments

LARGE = read_departments("""
== Piscine et spa
families: dehors
brands: Intex; Bestway; Gre; Zodiac; Kokido; Ubbink; AstralPool; Bayrol
nouns: Piscine tubulaire=pool; Piscine gonflable=pool; Piscine hors sol acier=pool; Spa gonflable=pool;
  Bâche à bulles=tarp; Bâche d'hivernage piscine=tarp; Pompe de filtration=pump; Filtre à sable=pump;
  Robot de piscine=pump; Échelle de piscine=ladder; Épuisette de surface=rake; Chlore choc granulés=bucket;
  Pastilles de chlore=bucket; Anti-algues concentré=bottle; Liner piscine ronde=tarp; Skimmer flottant=pump;
  Bouée gonflable=ring; Matelas gonflable de piscine=mattress; Tapis de sol piscine=tarp; Cartouche de filtration=tin
english: Above Ground Pool=pool; Solar Pool Cover=tarp; Pool Filter Pump=pump; Inflatable Swim Ring=ring;
  Pool Ladder=ladder
details: filtration 3,8 m³/h; sans chlore; 4 boudins; raccord 38 mm; traitement de l'eau; bulles 400 microns;
  eau cristalline; bassin enterré; anti-UV; avec échelle de sécurité; 140 jets d'air; multifonction 5 actions
sizes: Ø {d} cm; 305 x 76 cm; Ø 366 x 122 cm; {kg} kg; {l} L
fresh: Robot laveur autonome; Électrolyseur au sel connecté; Spa octogonal portable
== Mobilier
families: maison
brands: Miliboo; Conforama; Alinéa; Tikamoon; Altobuy; Baïta; Vente-Unique; Idmarket
nouns: Canapé convertible=sofa; Canapé d'angle=sofa; Fauteuil=armchair; Chaise de salle à manger=chair;
  Tabouret de bar=stool; Table basse=table; Table à manger extensible=table; Meuble TV=sideboard; Buffet bas=sideboard;
  Bibliothèque=shelf; Étagère murale=shelf; Commode 4 tiroirs=drawers; Table de chevet=drawers; Bureau d'angle=desk;
  Armoire 2 portes=wardrobe; Meuble à chaussures=wardrobe; Banc d'entrée=table; Lit coffre=bed; Console d'entrée=desk;
  Pouf de rangement=pouf
english: Convertible Sofa Bed=sofa; Dining Chair=chair; Coffee Table=table; Bookcase=shelf; Shoe Cabinet=wardrobe
details: pieds en métal; 3 places; chêne massif; panneaux de particules; tiroirs coulissants; assise rembourrée;
  plateau laqué; placage noyer; assemblage facile; piètement épingle; portes battantes; dossier ergonomique
sizes: {d}x{d}x{d} cm; L{d} cm; {vol} places; H{d} cm
fresh: Canapé modulable sans pieds; Bureau assis-debout; Claustra à lattes
== Jouets
families: enfants; collection
brands: Mattel; Hasbro; Fisher-Price; VTech; Smoby; Playmobil; Lego; Clementoni; Janod
nouns: Peluche ours=teddy; Peluche licorne=teddy; Poupée mannequin=doll; Poupon=doll; Voiture télécommandée=car;
  Camion de pompiers=truck; Circuit de voitures=track; Train en bois=train; Briques de construction=blocks;
  Cubes empilables=blocks; Dînette=cup; Établi de bricolage enfant=desk; Puzzle en bois=puzzle; Toupie=top;
  Robot interactif=robot; Déguisement de princesse=dress; Maison de poupée=house; Pâte à modeler=bucket;
  Xylophone=xylophone; Tracteur à pédales=truck; Épée en mousse=sword; Pistolet à fléchettes=blaster
english: Plush Toy=teddy; Building Blocks Set=blocks; Remote Control Car=car; Fashion Doll=doll; Wooden Train=train
details: dès 3 ans; sons et lumières; piles non fournies; jeu d'imitation; 120 pièces; éveil et motricité;
  rechargeable; doux et câlin; idée cadeau anniversaire; avec accessoires; échelle 1/16; à tirer
sizes: {n} pièces; {cm} cm; {age} ans et +; 1/{n}
fresh: Pop-it géant; Slime paillettes kawaii; Squishy anti-stress
== Livres
families: papier; collection
brands: Gallimard; Hachette; Folio; Le Livre de Poche; Pocket; Flammarion; Albin Michel; Actes Sud; J'ai lu
nouns: Roman Le silence des marais=book; Le dernier été, roman=book; Histoire de France=book;
  Dictionnaire Larousse=book; Guide du Routard Portugal=book; Thriller L'ombre du phare=book;
  Les fables de La Fontaine=openbook; Recettes de nos grands-mères=openbook; Méthode d'anglais=book;
  Poésies complètes=openbook; Biographie de Napoléon=book; Essai philosophique=book; Œuvres complètes tome=books;
  Encyclopédie universelle=books; Atlas géographique=openbook; Contes et légendes=openbook; Précis de droit civil=book;
  Le chat du ministère=book; Les Misérables=books; Polar Meurtre à Saint-Malo=book; Mémoires d'un instituteur=book
english: The Lost Harbour, a Novel=book; History of Painting=openbook; Learn Spanish Grammar=book;
  Collected Essays=books
details: broché; édition originale; format poche; {h} pages; traduit de l'anglais; illustrations noir et blanc;
  reliure cuir; dédicacé par l'auteur; préface; prix littéraire; bon état, pages jaunies; édition de {year}
sizes: {h} pages; tome {vol}; {vol} volumes; 18 x 11 cm
fresh: Livre audio sur clé USB; Roman graphique climat; Dark romance collector
== Linge de maison
families: maison
brands: Blanc des Vosges; Linder; Essix; Douceur d'Intérieur; Soleil d'Ocre; Jardin Secret; Carré Blanc; Lovely Casa
nouns: Coussin velours=cushion; Housse de coussin=cushion; Taie d'oreiller=cushion; Rideau occultant=curtain;
  Voilage=curtain; Paire de rideaux=curtain; Serviette de bain=towels; Drap de bain éponge=towels; Tapis de bain=rug;
  Nappe enduite=tarp; Plaid polaire=towels; Jeté de canapé=towels; Housse de couette=bedding; Parure de lit=bedding;
  Drap housse=bedding; Peignoir=dress; Torchon=towels; Chemin de table=rug; Gant de toilette=towels;
  Galette de chaise=cushion
english: Throw Pillow Case=cushion; Blackout Curtains=curtain; Bath Towel=towels; Duvet Cover Set=bedding;
  Fleece Blanket=towels
details: 100% coton; 57 fils/cm²; à œillets; lavable en machine; 500 g/m²; gaze de coton; passepoil; polyester doux;
  jacquard; déhoussable; finition ourlet; Oeko-Tex
sizes: {cm}x{cm} cm; 220x240 cm; 45x45 cm; {h} g/m²
fresh: Plaid chauffant sans fil; Couette quatre saisons bambou; Taie en soie de mûrier
== Jeux vidéo
families: ecran; collection
brands: Ubisoft; Electronic Arts; Nintendo; Activision; Capcom; Sega; Bandai Namco; Square Enix; Rockstar
nouns: Jeu de course PS4=gamecase; Jeu de rôle Switch=gamecase; FIFA=gamecase; Call of Duty=gamecase;
  Assassin's Creed=gamecase; Super Mario Bros=cartridge; Zelda Breath of the Wild=gamecase; Tetris Game Boy=cartridge;
  Gran Turismo=disc; Final Fantasy=gamecase; Les Sims extension=disc; Resident Evil=gamecase;
  Sonic Mega Drive=cartridge; Just Dance=gamecase; Farming Simulator=disc; Pro Evolution Soccer=gamecase;
  Rayman=cartridge; Tomb Raider=disc; Mario Kart=gamecase; Need for Speed=gamecase; Football Manager=disc
english: Racing Game PAL=gamecase; Strategy Game PC DVD=disc; Fighting Game Import=gamecase;
  Retro Cartridge Game=cartridge
details: version française; PEGI 12; multijoueur; sous blister; sans notice; édition platinum; import japonais;
  monde ouvert; code de téléchargement; complet en boîte; testé et fonctionnel; dlc inclus
sizes: PS4; Xbox One; Nintendo Switch; PS2; PC; Wii; Nintendo DS
fresh: Roguelite indépendant; Jeu de tir extraction; Simulateur cosy de village
== Figurines
families: collection; enfants
brands: Funko; Banpresto; Bandai; Schleich; Kotobukiya; Neca; Good Smile; Plastoy; McFarlane
nouns: Figurine Pop=bobble; Figurine articulée=figure; Statuette résine=figure; Figurine de collection=figure;
  Buste=bust; Figurine dragon=dragon; Figurine cheval=animal; Figurine dinosaure=animal; Nendoroid=bobble;
  Figurine PVC=figure; Figurine guerrier=figure; Porte-clés figurine=bobble; Figurine métal à peindre=figure;
  Diorama=dragon; Coffret figurines=blister; Statue lumineuse=bust; Figurine à l'échelle=figure; Mini-figurine=bobble;
  Robot transformable=robot
english: Action Figure=figure; Vinyl Figure=bobble; Collectible Statue=bust; Prize Figure=figure; Anime Figurine=figure
details: résine peinte à la main; socle inclus; édition limitée numérotée; boîte fenêtre; exclusivité convention;
  articulée 22 points; produit sous licence officielle; certificat d'authenticité; sculpté; miniature; série 3;
  jambes interchangeables
sizes: {cm} cm; 10 cm; n°{n}; échelle 1/{vol}
fresh: Blind box surprise; Art toy vinyle; Figurine imprimée 3D
== Décoration
families: maison
brands: Atmosphera; J-Line; Hübsch; Bloomingville; Umbra; Clayre & Eef; Artgeist; Madam Stoltz
nouns: Vase céramique=vase; Vase soliflore=vase; Cadre photo=frame; Tableau sur toile=frame; Miroir rond=mirror;
  Miroir soleil=mirror; Horloge murale=clock; Bougie parfumée=candle; Bougeoir=candle; Photophore=candle;
  Plante artificielle=plant; Cache-pot=plant; Sticker mural=frame; Statuette bouddha=bust; Guirlande lumineuse=lights;
  Tapis berbère=rug; Attrape-rêves=dreamcatcher; Coupe décorative=bowl; Papier peint=curtain; Boule à neige=globe;
  Panneau décoratif=frame
english: Wall Clock=clock; Canvas Print=frame; Scented Candle=candle; Ceramic Vase=vase; Artificial Plant=plant;
  Round Mirror=mirror
details: fait main; en rotin; impression sur toile; mouvement silencieux; à suspendre; ambiance cosy; imitation marbre;
  feuilles d'eucalyptus; à poser; cire de soja; art mural; relief doré
sizes: {cm}x{cm} cm; Ø {cm} cm; H {cm} cm
fresh: Pampa séchée XXL; Miroir ondulé asymétrique; Poster LED néon
== Puériculture
families: enfants; maison
brands: Chicco; Babymoov; Béaba; Dodie; Philips Avent; Badabulle; Cybex; Bébé Confort; Red Castle
nouns: Poussette canne=stroller; Poussette combinée=stroller; Biberon anti-colique=babybottle;
  Siège auto groupe 1=carseat; Cosy bébé=carseat; Tapis d'éveil=rug; Mobile musical=mobile; Transat bébé=carseat;
  Gigoteuse=dress; Body naissance=dress; Tétine physiologique=pacifier; Sucette=pacifier; Chaise haute=highchair;
  Lit parapluie=crib; Lit bébé à barreaux=crib; Baignoire bébé=tub; Stérilisateur=pump; Doudou=teddy; Veilleuse=lamp;
  Couches lavables=diaper; Porte-bébé=bag; Matelas à langer=mattress; Babyphone=walkie; Chaussons bébé=booties
english: Baby Stroller=stroller; Feeding Bottle=babybottle; Baby Crib=crib; Baby Bibs=dress; Pacifier=pacifier
details: 0-6 mois; sans BPA; nouveau-né; pliage compact; harnais 5 points; liste de naissance; débit lent;
  éveil sensoriel; TOG 2; jusqu'à 18 kg; silicone souple; isofix
sizes: {age} mois; {h} ml; 60x120 cm; {kg} kg
fresh: Écharpe de portage élastique; Chauffe-lingettes; Nid d'ange évolutif
== Outillage de jardin
families: dehors
brands: Gardena; Fiskars; Bosch; Makita; Ryobi; Greenworks; Black+Decker; Stihl; Wolf-Garten
nouns: Tondeuse à gazon=mower; Tondeuse thermique=mower; Sécateur=secateurs; Taille-haie=hedge; Tronçonneuse=chainsaw;
  Débroussailleuse=strimmer; Souffleur de feuilles=blower; Râteau à gazon=rake; Bêche=spade; Pelle ronde=spade;
  Tuyau d'arrosage=hose; Enrouleur mural=hose; Pistolet d'arrosage=sprayer; Pulvérisateur=sprayer;
  Arrosoir=wateringcan; Brouette=wheelbarrow; Serre de jardin=greenhouse; Coupe-bordures=strimmer; Scarificateur=mower;
  Composteur=bucket; Élagueuse télescopique=strimmer; Motoculteur=mower
english: Lawn Mower=mower; Pruning Shears=secateurs; Garden Hose=hose; Hedge Trimmer=hedge; Leaf Blower=blower
details: manche en frêne; 40 V lithium; moteur 4 temps; lame trempée; bac 50 L; coupe 41 cm; sans fil; autopropulsée;
  arrosage goutte à goutte; guide 45 cm; réglage de hauteur; pelouse et haies
sizes: {h} W; {h} cm³; {m} m; {l} L; 18 V
fresh: Robot tondeuse GPS; Broyeur silencieux à turbine; Programmateur d'arrosage wifi
== Consoles
families: ecran
brands: Sony; Nintendo; Microsoft; Sega; Atari; SNK; Retro-Bit; My Arcade
nouns: Console PlayStation 4=console; Console Xbox One=console; Console Nintendo Switch=handheld;
  Console Game Boy Color=handheld; Console PSP=handheld; Console Wii=console; Console Nintendo 3DS=handheld;
  Console Super Nintendo=console; Console Mega Drive=console; Console rétro 620 jeux=console;
  Mini borne d'arcade=arcade; Console PS Vita=handheld; Console GameCube=console; Console Dreamcast=console;
  Pack console et manette=console; Console portable rétro=handheld
english: Handheld Game Console=handheld; Retro Mini Console=console; Home Video Console=console; Arcade Machine=arcade
details: 500 Go; avec 2 manettes; reconditionnée; puce lecture; câbles inclus; zone PAL; slim; lecteur blu-ray;
  dock fourni; sortie HDMI; écran rétroéclairé; sans jeu
sizes: {h} Go; 1 To; 8 bits; {n} jeux intégrés
fresh: Console hybride OLED; Mini PC de jeu portable; Console FPGA
== Papeterie
families: papier; enfants
brands: Oxford; Clairefontaine; Bic; Stabilo; Exacompta; Quo Vadis; Moleskine; Maped; Herlitz
nouns: Cahier grands carreaux=notebook; Carnet de notes=notebook; Agenda scolaire=notebook; Bloc-notes=notebook;
  Stylo bille=pens; Stylo plume=pens; Feutres pointe fine=pens; Crayons de couleur=pens; Classeur à levier=binder;
  Chemise à rabats=folder; Trousse=bag; Calendrier mural=calendar; Enveloppes kraft=envelope; Cartouches d'encre=tin;
  Ramette papier=paper; Papier à lettres=envelope; Surligneurs=pens; Tampon encreur=stamp; Taille-crayon=tin;
  Pochettes plastifiées=folder; Rubans adhésifs washi=tape; Cartable=bag; Album photo=book
english: Spiral Notebook=notebook; Gel Pens=pens; Desk Calendar=calendar; Ring Binder=binder; Washi Tape=tape
details: 96 pages; reliure spirale; 90 g/m²; seyès; encre bleue; pointe moyenne; dos 70 mm; format A4; recharge;
  à élastique; polypropylène; perforations
sizes: A4; A5; 17x22 cm; {h} pages; {h} feuilles; 0,7 mm
fresh: Bullet journal pointillé; Stylo effaçable thermosensible; Tablette d'écriture LCD
== Cartes à collectionner
families: collection; papier
brands: Wizards of the Coast; Konami; Panini; Ultra Pro; The Pokémon Company; Upper Deck; Topps; Asmodee
nouns: Carte holographique=card; Carte rare=card; Booster=booster; Display 36 boosters=cardbox;
  Deck de démarrage=cardbox; Carte promo=card; Coffret dresseur=cardbox; Lot de cartes communes=cards;
  Carte Dracaufeu=card; Carte joueur de foot=card; Classeur de cartes=binder; Protège-cartes=cards;
  Carte ultra rare=card; Carte secrète=card; Tripack=booster; Carte gradée=card; Blister booster=booster;
  Carte full art=card; Carte terrain=cards; Set complet=cards
english: Trading Card Holo=card; Booster Pack=booster; Card Sleeves=cards; Rare Foil Card=card
details: PV 120; VF neuve; near mint; reverse; double face; première édition française; rareté ultra; extension;
  60 cartes; énergie feu; invocation; numérotée /99
sizes: n°{n}/165; {n} cartes; x{vol}; {h}PV
fresh: Carte alternative art VMAX; Carte numérique NFC; Booster play JCC
""")
