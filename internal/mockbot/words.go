package mockbot

import (
	"strings"
	"sync"
)

// The words that [noun], [adj] and [adv] draw from; split when first used and never changed.

var nouns = sync.OnceValue(func() []string {
	return strings.Fields(`acorn anchor anvil apple armchair attic avocado badger bagel balloon banjo barnacle basket
		beacon bean beetle bicycle biscuit blanket bookcase bottle bramble breeze brick bridge broom bubble bucket
		button cactus candle canoe carpet castle cathedral cauldron cello cheese cloud compass cookie cottage cricket
		crumpet cupboard cushion daisy dinosaur dolphin doorknob dragon drum duck eggplant elbow elephant engine envelope
		feather fern ferry fiddle flamingo forest fountain fox garden gecko ghost giraffe glacier goblin goose grape
		hammock harbor hat hedgehog helmet hippo igloo iguana island jacket jellyfish jigsaw kayak kettle kite kiwi
		ladder lantern lemon library llama lobster locket magnet mango maple marble meadow meteor mitten moose mountain
		muffin mushroom narwhal needle noodle notebook oak octopus olive orchard otter owl oyster paddle pancake panda
		parade parrot peach pebble pelican pencil penguin pepper piano pickle pigeon pillow pinecone pirate planet plum
		pocket porcupine potato pretzel pudding puffin pumpkin puzzle quilt rabbit raccoon radish rainbow raven ribbon
		river robot rocket saddle sandwich saxophone scarf scooter seagull shovel skeleton sloth snail sock spatula
		spoon squirrel stapler starfish submarine sunflower teapot telescope thimble tiger toaster tornado tractor
		trombone trumpet tulip tunnel turnip turtle umbrella unicorn vase violin volcano waffle walnut walrus wardrobe
		whale whistle willow window wizard wombat yak yogurt zeppelin zucchini`)
})

var adjectives = sync.OnceValue(func() []string {
	return strings.Fields(`adorable ancient angry awkward bashful bewildered big bitter bold brave breezy bright bumpy
		calm careless charming cheerful chilly clever clumsy cosmic cozy crispy crooked curious damp dapper daring dizzy
		dreamy dusty eager elegant enormous fancy fearless fierce fluffy forgetful fragrant friendly frosty fuzzy gentle
		giddy glamorous gloomy golden graceful grumpy handsome happy hasty helpful hollow honest hungry icy invisible
		itchy jolly jumpy kind lazy legendary little lively lonely loud lucky magical majestic mellow mighty mysterious
		nervous nimble noble noisy odd old peculiar playful plump polite prickly proud purple quaint quick quiet radiant
		rare restless round rusty salty shiny shy silent silly sleepy slippery smooth sneaky soft sparkling spicy spotted
		sticky stubborn sturdy sunny suspicious sweet swift tame tangy tender thirsty thoughtful tiny tranquil ugly
		unusual velvet vibrant wandering warm weary whimsical wild wise witty wobbly wonderful worried young zany zesty`)
})

var adverbs = sync.OnceValue(func() []string {
	return strings.Fields(`absently abruptly accidentally almost angrily anxiously awkwardly barely bashfully blindly boldly
		bravely briefly brightly briskly calmly carefully carelessly cautiously cheerfully clearly cleverly clumsily
		coolly courageously curiously daintily deeply defiantly deliberately dimly dreamily eagerly easily elegantly
		endlessly energetically enthusiastically evenly exactly faithfully fiercely firmly fondly foolishly frantically
		freely gently gladly gleefully gracefully greedily happily hastily honestly hungrily innocently joyfully keenly
		kindly lazily lightly loosely loudly lovingly loyally madly majestically merrily mysteriously nearly neatly
		nervously noisily obediently oddly openly patiently perfectly playfully politely poorly proudly punctually
		quickly quietly randomly rapidly rarely reluctantly repeatedly rudely sadly safely seldom selfishly sharply
		shyly silently sleepily slowly smoothly softly solemnly speedily stealthily sternly suddenly suspiciously
		sweetly swiftly tenderly tensely thoughtfully tightly triumphantly truthfully unexpectedly valiantly vastly
		warmly wearily wildly wisely zealously`)
})
